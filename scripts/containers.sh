# shellcheck shell=bash
# The stack as containers (docker/compose.yaml): the same verbs as scripts/stack.sh.
#
# run/PROJECT.env      what Compose is told besides .env: secrets, replicas, images made here
# run/images.env       names of images that docker/base.sh made, where no image registry can be reached

PROJECT=${COMPOSE_PROJECT_NAME:-llmo}
IMAGE=${LLMO_IMAGE:-llmo:latest}
SECRETS=$(realpath -m "${SECRETS_DIR:-$ROOT/docker/secrets}")
export SECRETS_DIR=$SECRETS
CONTAINERS_ENV=$RUN_DIR/$PROJECT.env
IMAGES_ENV=$RUN_DIR/images.env

compose() {
    local files=() parts=(-f "$ROOT/docker/compose.yaml") profiles
    profiles=,$(container_setting COMPOSE_PROFILES ''),
    # All that changes what another service has: a profile alone can't.
    if [[ $profiles == *,traefik,* ]]; then
        parts+=(-f "$ROOT/docker/compose.traefik.yaml")
        ! has_tls || parts+=(-f "$ROOT/docker/compose.traefik-tls.yaml")
    elif has_tls; then
        parts+=(-f "$ROOT/docker/compose.tls.yaml")
    fi
    [ -r "$ROOT/.env" ] && files+=(--env-file "$ROOT/.env")
    [ -r "$IMAGES_ENV" ] && files+=(--env-file "$IMAGES_ENV")
    [ -r "$CONTAINERS_ENV" ] && files+=(--env-file "$CONTAINERS_ENV")
    "${COMPOSE[@]}" --project-name "$PROJECT" --project-directory "$ROOT/docker" "${parts[@]}" "${files[@]}" "$@"
}

has_tls() { [ -n "$(container_setting TLS_CERT '')" ] && [ -n "$(container_setting TLS_KEY '')" ]; }
has_profile() { [[ ,$(container_setting COMPOSE_PROFILES ''), == *,$1,* ]]; }

image_is_there() { "$DOCKER" image inspect "$IMAGE" >/dev/null 2>&1; }

# A variable as Compose sees it: environment, then .env, then ours.
container_setting() { # NAME DEFAULT
    local value=${!1:-} file
    for file in "$ROOT/.env" "$IMAGES_ENV" "$CONTAINERS_ENV"; do
        [ -z "$value" ] && [ -r "$file" ] && value=$(sed -nE "s/^$1=\"?([^\"]*)\"?\$/\1/p" "$file" | tail -n 1)
    done
    printf '%s' "${value:-$2}"
}

# remember NAME VALUE: for this and later calls, until `stop`.
remember() {
    mkdir -p "$RUN_DIR"
    touch "$CONTAINERS_ENV"
    sed -i "/^$1=/d" "$CONTAINERS_ENV"
    printf '%s=%s\n' "$1" "$2" >>"$CONTAINERS_ENV"
}

# forget NAME…: of what was remembered.
forget() {
    local name
    [ -e "$CONTAINERS_ENV" ] || return 0
    for name in "$@"; do sed -i "/^$name=/d" "$CONTAINERS_ENV"; done
}

# What was set in this shell goes into the containers as well, beside what is in .env.
write_settings() {
    mkdir -p "$RUN_DIR"
    env | grep -E '^(LLMO_[A-Z0-9]+__[A-Z0-9_]+|HF_ENDPOINT|OTEL_EXPORTER_OTLP_ENDPOINT)=' >"$RUN_DIR/settings.env" || true
    remember LLMO_ENV_FILE "$RUN_DIR/settings.env"
}

build_containers() {
    ensure_engine
    local base
    base=$(container_setting BASE_IMAGE debian:bookworm-slim)
    if ! "$DOCKER" image inspect "$base" >/dev/null 2>&1 && ! "$DOCKER" pull -q "$base" >/dev/null 2>&1; then
        note "no image registry can be reached: base images are made from Debian's packages"
        local wanted=(base redis traefik)
        [ "$(container_setting BINARIES build)" = prebuilt ] || wanted+=(builder)
        mkdir -p "$RUN_DIR"
        "$ROOT/docker/base.sh" "${wanted[@]}" | tee /dev/stderr | grep -E '^[A-Z0-9_]+=' >"$IMAGES_ENV.new" 2>/dev/null
        mv "$IMAGES_ENV.new" "$IMAGES_ENV"
    fi
    write_settings
    say "Building the image %s (the first time takes long: llama.cpp is compiled for every kind of processor)" "$IMAGE"
    # What was taken from the image before is of the old one.
    rm -rf "${RUN_DIR:?}/bin"
    compose build --quiet gateway || fail "the image could not be built" "its messages are above"
    say "Built %s" "$IMAGE: $(image_size)"
}

image_size() { "$DOCKER" image inspect --format '{{.Size}}' "$IMAGE" | awk '{printf "%.0f MB\n", $1 / 1e6}'; }

wanted_profiles() {
    local profiles=()
    while [ $# -gt 0 ]; do
        case $1 in
            --traefik | --monitoring | --s3) profiles+=("${1#--}") ;;
            *) fail "$(t "unknown option '%s' for run" "$1")" "options: --docker --process --mono --traefik --monitoring --s3" ;;
        esac
        shift
    done
    [ ${#profiles[@]} -gt 0 ] || IFS=, read -r -a profiles <<<"$(container_setting COMPOSE_PROFILES '')"
    local IFS=,
    printf '%s' "${profiles[*]}"
}

run_containers() {
    local profiles
    profiles=$(wanted_profiles "$@") || exit 1
    ensure_engine
    image_is_there || build_containers
    "$ROOT/docker/secrets.sh" "$SECRETS"
    # What an earlier stack wanted is over with it.
    [ -n "$(running_ids)" ] || [ "${KEEP_REMEMBERED:-}" = yes ] || rm -f "$CONTAINERS_ENV"
    write_settings
    remember COMPOSE_PROFILES "$profiles"
    # They can't all have one port.
    [[ ,$profiles, == *,traefik,* ]] || forget GATEWAY_REPLICAS
    if [[ ,$profiles, == *,s3,* ]]; then
        remember STORAGE_BACKEND s3
        remember LLMO_STORE__S3_ENDPOINT http://s3:9000
        remember S3_USER_FILE /run/secrets/s3_user
        remember S3_PASSWORD_FILE /run/secrets/s3_password
    else
        forget STORAGE_BACKEND LLMO_STORE__S3_ENDPOINT S3_USER_FILE S3_PASSWORD_FILE
    fi
    take_certificates
    take_receiver "$profiles"

    local before after
    before=$(running_ids)
    if [ -z "$before" ]; then
        local host_program
        if host_program=$(host_llmo); then ask_doctor "$host_program" --only ports --quiet || exit 1; fi
    fi
    seed_models
    services_of "$profiles"
    [ -n "$before" ] || say "Starting the containers (logs: ./run_microservices.sh logs)"
    if [[ ,$profiles, == *,s3,* ]]; then
        # It makes the bucket and ends, which --wait would take for a failure.
        compose up -d --quiet-pull s3-bucket >"$RUN_DIR/up.log" 2>&1 || { tail -n 15 "$RUN_DIR/up.log" >&2; fail "the containers did not become ready; the last lines are above"; }
        leave_out s3-bucket
    fi
    compose up -d --quiet-pull --remove-orphans --wait --wait-timeout "${LLMO_START_TIMEOUT:-600}" "${ONLY[@]}" >"$RUN_DIR/up.log" 2>&1 || {
        tail -n 15 "$RUN_DIR/up.log" >&2
        tell_ill
        fail "the containers did not become ready; the last lines are above" \
            "./run_microservices.sh logs model-service; ./run_microservices.sh doctor --docker"
    }
    after=$(running_ids)
    [ "$before" != "$after" ] || say "Already running"
    told_files_again
    wait_container_api
    print_container_urls
}

# Certificate and key where containers may read them. They are written in place: a mounted file stays the same file.
take_certificates() {
    local name from
    TOOK_CERTIFICATES=no
    if ! has_tls; then
        [ -z "$(container_setting TLS_CERT '')$(container_setting TLS_KEY '')" ] ||
            fail "TLS needs both, a certificate and its key" "TLS_CERT=FILE TLS_KEY=FILE"
        return 0
    fi
    for name in TLS_KEY TLS_CERT; do
        from=$(container_setting $name '')
        [ -r "$from" ] || fail "$(t '%s cannot be read: %s' "$name" "$from")" "TLS_CERT=FILE TLS_KEY=FILE"
        cmp -s "$from" "$SECRETS/${name,,}" && continue
        cat "$from" >"$SECRETS/${name,,}"
        chmod 644 "$SECRETS/${name,,}"
        TOOK_CERTIFICATES=yes
    done
    # Later calls know it, too.
    remember TLS_CERT "$(realpath "$(container_setting TLS_CERT '')")"
    remember TLS_KEY "$(realpath "$(container_setting TLS_KEY '')")"
}

# Where alerts are posted to. The address may have a secret in it: it is kept with the passwords.
take_receiver() { # PROFILES
    forget ALERTMANAGER_CONFIG
    TOOK_RECEIVER=no
    if [[ ,$1, != *,monitoring,* ]] || [ -z "$ALERT_WEBHOOK_URL" ]; then return 0; fi
    local to=$SECRETS/alertmanager
    mkdir -p "$to"
    alertmanager_config >"$to/alertmanager.yml.new"
    cmp -s "$to/alertmanager.yml.new" "$to/alertmanager.yml" || TOOK_RECEIVER=yes
    mv "$to/alertmanager.yml.new" "$to/alertmanager.yml"
    chmod 755 "$to"
    chmod 644 "$to/alertmanager.yml"
    remember ALERTMANAGER_CONFIG "$to"
}

# Who runs and reads files again only when told. The gateway looks at its certificate by itself.
told_files_again() {
    local id
    if [ "$TOOK_CERTIFICATES" = yes ] && has_profile traefik; then touch "$ROOT/docker/traefik/routes.yaml"; fi
    if [ "$TOOK_RECEIVER" = yes ]; then
        for id in $(replicas_of alertmanager); do "$DOCKER" kill --signal HUP "$id" >/dev/null; done
    fi
}

# Sets ONLY: the services to start. Where no registry can be reached, images of others are made from packages, and what can't
# be made is left out.
services_of() { # PROFILES
    local name wanted=()
    # Only where docker/base.sh had to make images is there no registry.
    if [ -s "$IMAGES_ENV" ]; then
        for name in monitoring s3; do [[ ,$1, != *,$name,* ]] || wanted+=("$name"); done
    fi
    if [ ${#wanted[@]} -gt 0 ]; then
        "$ROOT/docker/base.sh" "${wanted[@]}" >"$IMAGES_ENV.new" || fail "images could not be made" "see above"
        grep -E '^[A-Z0-9_]+=' "$IMAGES_ENV.new" >"$IMAGES_ENV"
        rm -f "$IMAGES_ENV.new"
    fi
    mapfile -t ONLY < <(COMPOSE_PROFILES=$1 compose config --services)
    for name in grafana cadvisor; do
        if [[ " ${ONLY[*]} " != *" $name "* ]] || can_be_had "$name" "$1"; then continue; fi
        note "without %s: its image can only be had from a registry" "$name"
        leave_out "$name"
    done
}

# Is there a registry to have this image from, or is it here already?
can_be_had() { # grafana|cadvisor PROFILES
    local image
    [ -s "$IMAGES_ENV" ] || return 0
    image=$(COMPOSE_PROFILES=$2 compose config --images | grep -F "$1" | head -n 1)
    "$DOCKER" image inspect "${image:-none}" >/dev/null 2>&1
}

leave_out() { mapfile -t ONLY < <(printf '%s\n' "${ONLY[@]}" | grep -vx "$1"); }

running_ids() { "$DOCKER" ps -q --no-trunc --filter "label=com.docker.compose.project=$PROJECT" | sort; }

# The program for this machine: the build's, or the image's.
host_llmo() {
    local built=${CARGO_TARGET_DIR:-$ROOT/target}/release/llmo taken=$RUN_DIR/bin/llmo container
    if [ -x "$built" ] && "$built" logs --containers --help >/dev/null 2>&1; then printf '%s' "$built"; return 0; fi
    if [ ! -x "$taken" ] && image_is_there; then
        mkdir -p "$RUN_DIR/bin"
        container=$("$DOCKER" create "$IMAGE")
        "$DOCKER" cp "$container:/usr/local/bin/llmo" "$taken" >/dev/null 2>&1 || true
        "$DOCKER" cp "$container:/usr/local/lib/llmo" "$RUN_DIR/bin/lib" >/dev/null 2>&1 || true
        "$DOCKER" rm "$container" >/dev/null
    fi
    "$taken" --version >/dev/null 2>&1 && printf '%s' "$taken"
}

in_image() { # with the volume of models, and what else is given before --
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    "$DOCKER" run --rm --read-only --tmpfs /tmp -v "${PROJECT}_models:/var/lib/llmo/models" \
        --label "com.docker.compose.project=$PROJECT" --label com.docker.compose.oneoff=True "${options[@]}" "$IMAGE" "$@"
}

# The models into their volume: from the hub; where that can't be reached, from this machine's models, which pip may fetch.
seed_models() {
    local names name missing=() settings=() program models
    [ -r "$ROOT/.env" ] && settings+=(--env-file "$ROOT/.env")
    settings+=(--env-file "$RUN_DIR/settings.env" -e LLMO_GATEWAY__PORT=8000)
    # Made here, so that Compose finds it as its own.
    "$DOCKER" volume inspect "${PROJECT}_models" >/dev/null 2>&1 ||
        "$DOCKER" volume create --label "com.docker.compose.project=$PROJECT" --label com.docker.compose.volume=models "${PROJECT}_models" >/dev/null
    # The simulator has no weights.
    [ "$(in_image "${settings[@]}" -- config get model.engine)" != sim ] || return 0
    names=$(in_image "${settings[@]}" -- config get model.names | tr -d '[]" ' | tr ',' ' ') || fail "the configuration is wrong" "see above"
    [ -z "$(container_setting MODEL_PATH '')" ] || names=${names#* }
    for name in $names; do
        in_image "${settings[@]}" -- show "$name" >/dev/null 2>&1 || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Fetching models: %s" "${missing[*]}"
    in_image "${settings[@]}" -- pull "${missing[@]}" >"$RUN_DIR/pull.log" 2>&1 && return 0
    program=$(host_llmo) || { tail -n 5 "$RUN_DIR/pull.log" >&2; fail "the models could not be fetched" "the reason is above"; }
    note "the hub can't be reached from containers: this machine fetches them"
    "$program" pull "${missing[@]}" || fail "the models could not be fetched" "the reason is above"
    models=$("$program" config get store.dir | tr -d '"')
    models=${models:-${XDG_DATA_HOME:-$HOME/.local/share}/llmo/models}
    for name in "${missing[@]}"; do
        import_model "$models" "$name" || fail "$(t 'model %s could not be put into its volume' "$name")" "the reason is above"
    done
}

# Weights of this machine into the volume. They are copied into a container first: their directory may be closed to its user.
import_model() { # DIRECTORY NAME
    local container from=/seed/$2 code=0
    # A file of weights is imported as that file, an embedding model as its directory.
    [ ! -f "$1/$2/model.gguf" ] || from=$from/model.gguf
    container=$("$DOCKER" create -v "${PROJECT}_models:/var/lib/llmo/models" "$IMAGE" pull "$2" --from "$from")
    tar -C "$1" --owner=10001 --group=10001 --mode=a+rX --transform 's,^,seed/,' -c "$2" | "$DOCKER" cp - "$container:/"
    "$DOCKER" start -a "$container" >"$RUN_DIR/pull.log" 2>&1 || code=$?
    "$DOCKER" rm "$container" >/dev/null
    [ $code -eq 0 ] || { tail -n 5 "$RUN_DIR/pull.log" >&2; return 1; }
}

container_api_url() {
    local port scheme=http
    port=$(container_setting API_PORT 80)
    if has_tls; then scheme=https port=$(container_setting HTTPS_PORT 443); fi
    case $scheme:$port in
        http:80 | https:443) echo "$scheme://localhost" ;;
        *) echo "$scheme://localhost:$port" ;;
    esac
}

wait_container_api() {
    local limit=$((SECONDS + 30))
    # This machine's name is in no certificate.
    until curl -skf -m 2 -o /dev/null "$(container_api_url)/readyz"; do
        [ $SECONDS -lt $limit ] || fail "$(t 'the stack is not ready after %s s: %s' 30 "$(container_api_url)")" "./run_microservices.sh logs gateway"
        sleep 0.2
    done
}

print_container_urls() {
    local api profiles
    api=$(container_api_url)
    profiles=,$(container_setting COMPOSE_PROFILES ''),
    echo
    t 'llmo is ready.'; echo
    printf '    API         %s/api        (%s: %s/v1)\n' "$api" "$(t "also OpenAI's")" "$api"
    if [[ $profiles == *,traefik,* ]]; then
        printf '    Traefik     http://localhost:%s   (admin, %s)\n' "$(container_setting DASHBOARD_PORT 8080)" "$SECRETS/dashboard_password"
        printf '    %s   http://localhost:%s   (admin, %s)\n' "$(t Dashboard)" "$(container_setting LLMO_DASHBOARD_PORT 8090)" "$SECRETS/dashboard_password"
    else
        printf '    %s   http://localhost:%s\n' "$(t Dashboard)" "$(container_setting DASHBOARD_PORT 8080)"
    fi
    if [[ $profiles == *,monitoring,* ]]; then
        [ -z "$(replicas_of grafana)" ] || printf '    Grafana     http://localhost:%s   (admin, %s)\n' "$(container_setting GRAFANA_PORT 3000)" "$SECRETS/grafana_password"
        print_monitors "$(container_setting PROMETHEUS_PORT 9090)" "$(container_setting ALERTMANAGER_PORT 9093)" "$SECRETS"
    fi
    cat <<TEXT

    curl $api/api/generate -d '{"prompt": "What is the capital of Germany?", "max_length": 40}'

    $(t 'stop it:')    ./run_microservices.sh stop
TEXT
}

stop_containers() {
    local count
    count=$("$DOCKER" ps -aq --filter "label=com.docker.compose.project=$PROJECT" | wc -l)
    local names
    names=$("$DOCKER" ps -a --filter "label=com.docker.compose.project=$PROJECT" --format '{{.Label "com.docker.compose.service"}}' | sort -u | tr '\n' ' ')
    [ "$count" -gt 0 ] || { rm -f "$CONTAINERS_ENV"; say "Nothing was running"; return 0; }
    # The edge first: it drains while what it needs is still there.
    COMPOSE_PROFILES='*' compose stop --timeout 45 traefik gateway >/dev/null 2>&1 || true
    COMPOSE_PROFILES='*' compose down --remove-orphans --timeout 45 >"$RUN_DIR/down.log" 2>&1 ||
        { tail -n 10 "$RUN_DIR/down.log" >&2; fail "the containers could not be stopped" "see above"; }
    rm -f "$CONTAINERS_ENV"
    say "Stopped %s" "${names% }"
}

status_containers() {
    local service state id told health
    [ -n "$("$DOCKER" ps -aq --filter "label=com.docker.compose.project=$PROJECT")" ] || { say "Nothing runs (start it: ./run_microservices.sh run)"; return 3; }
    printf '%-17s %-9s %12s %9s  %s\n' "$(t SERVICE)" "$(t STATE)" CONTAINER "$(t RESTARTS)" "$(t HEALTH)"
    # Not all have a health check; asked by a template, those without one are an error.
    "$DOCKER" ps -a --filter "label=com.docker.compose.project=$PROJECT" \
        --format '{{.Label "com.docker.compose.service"}} {{.State}} {{.ID}} {{.Status}}' | sort | while read -r service state id told; do
        case $told in
            *"(healthy)"*) health=healthy ;;
            *"(unhealthy)"*) health=unhealthy ;;
            *"(health: starting)"*) health=starting ;;
            *) health=- ;;
        esac
        printf '%-17s %-9s %12s %9s  %s\n' "$service" "$state" "$id" "$("$DOCKER" inspect --format '{{.RestartCount}}' "$id")" "$health"
    done
    printf '\n%s/readyz: ' "$(container_api_url)"
    curl -sk -m 3 "$(container_api_url)/readyz" || t 'does not answer'
    echo
}

logs_containers() {
    local program options=(--containers)
    [ "${FOLLOW:-1}" = 1 ] && options+=(--follow)
    program=$(host_llmo) || fail "there is no llmo for this machine" "./run_microservices.sh build"
    COMPOSE_PROJECT_NAME=$PROJECT exec "$program" logs "${options[@]}" "$@"
}

# scale_containers SERVICE=NUMBER…
scale_containers() {
    local wanted service number
    [ $# -gt 0 ] || fail "scale what?" "scale model-service=3"
    [ -n "$(running_ids)" ] || fail "Nothing runs (start it: ./run_microservices.sh run)"
    for wanted in "$@"; do
        service=${wanted%%=*} number=${wanted#*=}
        check_scale "$service" "$number"
        if [ "$service" = gateway ]; then
            [ "$number" = 1 ] || has_profile traefik ||
                fail "several gateways need Traefik in front of them: they cannot all have one port" "./run_microservices.sh run --docker --traefik"
            remember GATEWAY_REPLICAS "$number"
        else
            remember MODEL_REPLICAS "$number"
        fi
        start_replicas "$service" "$number"
        say "Scaled %s" "$service=$number"
    done
}

# Starts, or stops, as many as it takes; those that run are left as they are.
start_replicas() { # SERVICE NUMBER
    compose up -d --no-deps --no-recreate --scale "$1=$2" --wait --wait-timeout "${LLMO_START_TIMEOUT:-600}" "$1" >"$RUN_DIR/up.log" 2>&1 ||
        { tail -n 15 "$RUN_DIR/up.log" >&2; tell_ill; fail "the containers did not become ready; the last lines are above"; }
}

# What health checks said of those that are not well.
tell_ill() {
    local id
    for id in $("$DOCKER" ps -q --filter "label=com.docker.compose.project=$PROJECT" --filter health=unhealthy --filter health=starting); do
        "$DOCKER" inspect --format '{{slice .Name 1}}: {{range .State.Health.Log}}{{.Output}}{{end}}' "$id" | tail -n 3 >&2
    done
}

replicas_of() {
    "$DOCKER" ps -q --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1"
}

# update_containers [SERVICE…]: each container is replaced by one of the present image and settings. Of those that there may be
# several of, a new one comes first; the old one gets no new work, finishes what it has, and goes. The others are away for a
# moment, which the rest of the stack bears.
update_containers() {
    local services=("$@") service known
    [ -n "$(running_ids)" ] || fail "Nothing runs (start it: ./run_microservices.sh run)"
    # A newer version may want one more.
    "$ROOT/docker/secrets.sh" "$SECRETS"
    write_settings
    if [ ${#services[@]} -eq 0 ]; then
        services=(storage-service cache-service model-service)
        if has_profile traefik; then services+=(gateway); else note "the gateway is left as it is; without Traefik it would be away for a moment: update gateway"; fi
    fi
    known=$("$DOCKER" ps -a --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.oneoff=False \
        --format '{{.Label "com.docker.compose.service"}}' | sort -u | tr '\n' ' ')
    for service in "${services[@]}"; do
        [[ " $known" == *" $service "* ]] || fail "$(t "unknown service '%s'" "$service")" "$(t 'services: %s' "${known% }")"
    done
    for service in "${services[@]}"; do
        if [ "$service" = model-service ] || { [ "$service" = gateway ] && has_profile traefik; }; then
            replace_one_by_one "$service"
        else
            [ "$service" != gateway ] || note "without Traefik the gateway is away for a moment: its port can be held by one only"
            compose up -d --no-deps --force-recreate --wait --wait-timeout "${LLMO_START_TIMEOUT:-600}" "$service" >"$RUN_DIR/up.log" 2>&1 ||
                { tail -n 10 "$RUN_DIR/up.log" >&2; tell_ill; fail "the containers did not become ready; the last lines are above"; }
            say "Updated %s" "$service"
        fi
    done
}

replace_one_by_one() { # SERVICE
    local id number old
    mapfile -t old < <(replicas_of "$1")
    number=${#old[@]}
    for id in "${old[@]}"; do
        start_replicas "$1" $((number + 1))
        # For as long as names are kept: nobody shall miss the new one.
        sleep "${LLMO_SETTLE_SECONDS:-3}"
        "$DOCKER" stop --time 45 "$id" >/dev/null
        "$DOCKER" rm "$id" >/dev/null
    done
    say "Updated %s" "$1 ($number)"
}

# ask_doctor PROGRAM OPTION…: tells it which ports are published, and by what.
ask_doctor() {
    local program=$1 name value values=() with=()
    shift
    for name in API_PORT API_BIND HTTPS_PORT DASHBOARD_PORT LLMO_DASHBOARD_PORT GRAFANA_PORT PROMETHEUS_PORT ALERTMANAGER_PORT; do
        value=$(container_setting "$name" '')
        [ -z "$value" ] || values+=("$name=$value")
    done
    for name in traefik monitoring s3; do ! has_profile "$name" || with+=(--with "$name"); done
    ! has_tls || with+=(--with tls)
    if has_profile monitoring && can_be_had grafana monitoring; then with+=(--with grafana); fi
    env "${values[@]}" COMPOSE_PROJECT_NAME="$PROJECT" "$program" doctor --role containers "${with[@]}" "$@"
}

doctor_containers() {
    local program
    program=$(host_llmo) || fail "there is no llmo for this machine" "./run_microservices.sh build"
    ask_doctor "$program" "$@"
}

# Also what is left of a stack that has been stopped. Passwords stay: what is kept elsewhere may be closed by them.
clean_containers() {
    local volume image name
    stop_containers
    COMPOSE_PROFILES='*' compose down --remove-orphans --volumes --timeout 45 >"$RUN_DIR/down.log" 2>&1 ||
        { tail -n 10 "$RUN_DIR/down.log" >&2; fail "the containers could not be stopped" "see above"; }
    for volume in $("$DOCKER" volume ls -q --filter "label=com.docker.compose.project=$PROJECT"); do "$DOCKER" volume rm "$volume" >/dev/null; done
    # An image that another project runs stays.
    ! image_is_there || "$DOCKER" image rm "$IMAGE" >/dev/null 2>&1 || note "%s stays: others use it" "$IMAGE"
    if [ -r "$IMAGES_ENV" ]; then
        while IFS='=' read -r name image; do
            # Not all of those that are named have been made.
            if [[ $name == *_IMAGE ]] && "$DOCKER" image inspect "$image" >/dev/null 2>&1; then
                "$DOCKER" image rm "$image" >/dev/null 2>&1 || note "%s stays: others use it" "$image"
            fi
        done < <(sort -u -t '=' -k2 "$IMAGES_ENV")
    fi
    rm -rf "${RUN_DIR:?}"/{bin,settings.env,up.log,down.log,pull.log} "$IMAGES_ENV" "$CONTAINERS_ENV"
    stop_engine
    rmdir "$RUN_DIR" 2>/dev/null || true
    say "Removed containers, networks, volumes, images and logs; passwords are kept (rm -r %s)" "$SECRETS"
}

# restart_containers [OPTION…]: as before, unless options say otherwise: profiles, and how many of each there are.
restart_containers() {
    local name value kept=()
    wanted_profiles "$@" >/dev/null
    for name in COMPOSE_PROFILES MODEL_REPLICAS GATEWAY_REPLICAS TLS_CERT TLS_KEY; do
        value=$(container_setting "$name" '')
        [ -z "$value" ] || kept+=("$name=$value")
    done
    stop_containers
    ensure_engine
    for value in "${kept[@]}"; do remember "${value%%=*}" "${value#*=}"; done
    KEEP_REMEMBERED=yes run_containers "$@"
}
