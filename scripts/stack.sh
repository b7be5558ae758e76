# shellcheck shell=bash
# The stack as local processes: storage, cache, model and gateway, each under a supervisor (scripts/supervise.sh).
#
# run/NAME.supervisor.pid   the supervisor: TERM stops the service for good
# run/NAME.pid              the service itself
# run/NAME.log              its output
# run/model-services.toml   the model services, for the gateway: it reads the file again when it changes

# shellcheck source=scripts/detach.sh
. "$ROOT/scripts/detach.sh"
# shellcheck source=scripts/ports.sh
. "$ROOT/scripts/ports.sh"

RUN_DIR=${LLMO_RUN_DIR:-$ROOT/run}
BIN_DIR=${LLMO_BIN_DIR:-${CARGO_TARGET_DIR:-$ROOT/target}/release}
SERVICES=(storage-service cache-service model-service gateway)
MODEL_SERVICES=$(realpath -m "$RUN_DIR")/model-services.toml
LOG_LIMIT_BYTES=$((64 * 1024 * 1024))

# Programs that somebody built, LLMO_BIN_DIR, are used as they are.
built_elsewhere() { [ -n "${LLMO_BIN_DIR:-}" ]; }

build_stack() {
    local name
    if built_elsewhere; then
        for name in llmo llmo-server llmo-gateway; do
            [ -x "$BIN_DIR/$name" ] || fail "$(t '%s is not there' "$BIN_DIR/$name")" "LLMO_BIN_DIR names a directory with llmo, llmo-server and llmo-gateway"
        done
        return 0
    fi
    say "Building (the first time takes about ten minutes: llama.cpp is compiled for this machine)"
    cargo build --release --locked -p llmo -p llmo-server -p llmo-gateway ||
        fail "the build failed" "its messages are above; 'cargo build --release' repeats it"
}

# What the services on one host usually want; anything the user sets elsewhere overrides it.
service_presets() {
    printf '%s\n' --preset cache.backend=remote
    [ ! -e "$MODEL_SERVICES" ] || printf '%s\n' --preset "discovery.file=$MODEL_SERVICES"
}

service_command() {
    local presets
    mapfile -t presets < <(service_presets)
    case $1 in
        storage-service) COMMAND=("$BIN_DIR/llmo-server" store "${presets[@]}") ;;
        cache-service)   COMMAND=("$BIN_DIR/llmo-server" cache "${presets[@]}") ;;
        model-service)   COMMAND=("$BIN_DIR/llmo-server" model "${presets[@]}") ;;
        model-service-*) COMMAND=("$BIN_DIR/llmo-server" model "${presets[@]}" --set "model.port=$(cat "$RUN_DIR/$1.port")") ;;
        gateway)         COMMAND=("$BIN_DIR/llmo-gateway" "${presets[@]}") ;;
        mono)            COMMAND=("$BIN_DIR/llmo" up) ;;
        *)               fail "$(t "unknown service '%s'" "$1")" "$(t 'services: %s' "${SERVICES[*]}")" ;;
    esac
}

setting() { "$BIN_DIR/llmo" config get "$1"; }

# Does the process live that this file names? One that is dead and not buried yet does not.
alive() {
    local pid
    [ -r "$1" ] && pid=$(cat "$1") && kill -0 "$pid" 2>/dev/null && ! grep -q '^[0-9]* (.*) Z ' "/proc/$pid/stat" 2>/dev/null
}

# Services whose supervisor was killed: nobody would ever end them. A number that another program has by now is left alone.
end_orphans() {
    local file name pid limit
    for file in "$RUN_DIR"/*.pid; do
        name=${file##*/} name=${name%.pid}
        case $name in '*' | *.supervisor) continue ;; esac
        if ! alive "$file" || alive "$RUN_DIR/$name.supervisor.pid"; then continue; fi
        pid=$(cat "$file")
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qE 'llmo|prometheus' || continue
        kill -TERM "$pid" 2>/dev/null || continue
        limit=$((SECONDS + 45))
        while alive "$file" && [ $SECONDS -lt $limit ]; do sleep 0.05; done
        ! alive "$file" || kill -KILL "$pid" 2>/dev/null || true
        rm -f "$RUN_DIR/$name".{supervisor.pid,pid,restarts,port}
        note "%s had lost its supervisor; it was ended" "$name"
    done
}

running_services() {
    local name
    for name in "${SERVICES[@]}" mono $(more_model_services); do
        alive "$RUN_DIR/$name.supervisor.pid" && printf '%s\n' "$name"
    done
    return 0
}

# Those that `scale` added: model-service-2 …
more_model_services() {
    local file name
    for file in "$RUN_DIR"/model-service-*.supervisor.pid; do
        name=${file##*/}
        [ ! -e "$file" ] || printf '%s\n' "${name%.supervisor.pid}"
    done
}

# Are these options of run? So that nothing is stopped for a mistake.
check_run_options() {
    local option
    for option in "$@"; do
        case $option in
            --mono | --monitoring) ;;
            *) fail "$(t "unknown option '%s' for run" "$option")" "options: --docker --process --mono --traefik --monitoring --s3" ;;
        esac
    done
}

run_stack() {
    local wanted=("${SERVICES[@]}") mode=services monitoring=no name
    while [ $# -gt 0 ]; do
        case $1 in
            --mono)       wanted=(mono) mode=mono ;;
            --monitoring) monitoring=yes ;;
            *)            check_run_options "$1" ;;
        esac
        shift
    done
    local now
    now=$(running_services | tr '\n' ' ')
    if [ "$(sed -E 's/model-service-[0-9]+ //g' <<<"$now")" = "$(printf '%s ' "${wanted[@]}")" ]; then
        say "Already running"
        wait_ready
        print_urls
        [ $monitoring = no ] || start_monitoring "$mode"
        return 0
    fi
    [ -z "$now" ] || fail "$(t 'already running: %s' "$now")" "stop it first: ./run_microservices.sh stop"

    "$BIN_DIR/llmo" config check >/dev/null || exit 1
    end_orphans
    "$BIN_DIR/llmo" doctor --only ports --role "$mode" --quiet || exit 1
    pull_models
    mkdir -p "$RUN_DIR"
    say "Starting %s (logs: ./run_microservices.sh logs)" "${wanted[*]}"
    rm -f "$MODEL_SERVICES"
    [ "$mode" = mono ] || write_model_services
    for name in "${wanted[@]}"; do start_service "$name"; done
    wait_ready
    print_urls
    [ $monitoring = no ] || start_monitoring "$mode"
}

pull_models() {
    local names
    # The simulator has no weights.
    [ "$(setting model.engine)" != sim ] || return 0
    names=$(setting model.names | tr -d '[]" ' | tr ',' ' ')
    [ -z "$(setting model.path)" ] || names=${names#* }
    # shellcheck disable=SC2086  # one word a model
    [ -z "$names" ] || "$BIN_DIR/llmo" pull $names || fail "the models could not be fetched" "the reason is above"
}

start_service() {
    local name=$1 log=$RUN_DIR/$1.log COMMAND
    service_command "$name"
    if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt "$LOG_LIMIT_BYTES" ]; then mv "$log" "$log.1"; fi
    detach "$log" "$ROOT/scripts/supervise.sh" "$RUN_DIR" "$name" "${COMMAND[@]}"
    echo $! >"$RUN_DIR/$name.supervisor.pid"
}

# Waits until the gateway is ready, saying what it waits for whenever that changes.
wait_ready() {
    local url limit=$((SECONDS + ${LLMO_START_TIMEOUT:-180})) answer reason last='' name
    url=$(api_url)/readyz
    while [ $SECONDS -lt $limit ]; do
        # This machine's name is in no certificate.
        answer=$(curl -sk -m 2 -w '\n%{http_code}' "$url" 2>/dev/null || true)
        [ "${answer##*$'\n'}" = 200 ] && return 0
        reason=$(printf '%s' "${answer%$'\n'*}" | tr -d '\n' | cut -c1-200)
        [ -n "$reason" ] || reason=$(t 'the gateway is starting')
        if [ "$reason" != "$last" ]; then note 'waiting: %s' "$reason"; last=$reason; fi
        for name in $(running_services); do
            if [ "$(restarts "$name")" -ge 5 ]; then
                tail -n 5 "$RUN_DIR/$name.log" >&2
                stop_stack
                fail "$(t '%s does not start; its last lines are above' "$name")" "$(t 'all of them: %s' "$RUN_DIR/$name.log")"
            fi
        done
        sleep 0.2
    done
    fail "$(t 'the stack is not ready after %s s: %s' "${LLMO_START_TIMEOUT:-180}" "$last")" "look at the logs: ./run_microservices.sh logs"
}

restarts() { cat "$RUN_DIR/$1.restarts" 2>/dev/null || echo 0; }

api_url() {
    local port scheme=http
    port=$(setting gateway.port)
    [ "$(setting tls.cert)$(setting tls.acme_domains | tr -d '[:space:]')" = '[]' ] || scheme=https
    case $scheme:$port in
        http:80 | https:443) echo "$scheme://localhost" ;;
        *) echo "$scheme://localhost:$port" ;;
    esac
}

print_urls() {
    local api
    api=$(api_url)
    cat <<TEXT

$(t 'llmo is ready.')
    API         $api/api        ($(t "also OpenAI's"): $api/v1)
    $(t Dashboard)   http://localhost:$(setting gateway.dashboard_port)

    curl $api/api/generate -d '{"prompt": "What is the capital of Germany?", "max_length": 40}'

    $(t 'stop it:')    ./run_microservices.sh stop
TEXT
}

stop_stack() {
    local name stopped=()
    end_orphans
    # The gateway first: it drains while what it needs is still there.
    for name in gateway mono model-service $(more_model_services) cache-service storage-service; do
        if alive "$RUN_DIR/$name.supervisor.pid"; then
            stop_service "$name"
            stopped+=("$name")
        fi
        # Also what a machine that went down left behind.
        rm -f "$RUN_DIR/$name".{supervisor.pid,pid,restarts,port}
    done
    rm -f "$MODEL_SERVICES"
    if [ ${#stopped[@]} -eq 0 ]; then say "Nothing was running"; else say "Stopped %s" "${stopped[*]}"; fi
}

# Ends one service and its supervisor; running streams may finish.
stop_service() {
    local name=$1 pid
    pid=$(cat "$RUN_DIR/$name.supervisor.pid")
    kill -TERM "$pid"
    local limit=$((SECONDS + 45))
    while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $limit ]; do sleep 0.05; done
    if kill -0 "$pid" 2>/dev/null; then
        alive "$RUN_DIR/$name.pid" && kill -KILL "$(cat "$RUN_DIR/$name.pid")" 2>/dev/null
        kill -KILL "$pid" 2>/dev/null || true
    fi
    rm -f "$RUN_DIR/$name".{supervisor.pid,pid,restarts,port}
}

status_stack() {
    local name state
    [ -n "$(running_services)" ] || { say "Nothing runs (start it: ./run_microservices.sh run)"; return 3; }
    printf '%-17s %-9s %8s %9s\n' "$(t SERVICE)" "$(t STATE)" PID "$(t RESTARTS)"
    for name in $(running_services; running_monitors); do
        state=running
        alive "$RUN_DIR/$name.pid" || state=starting
        printf '%-17s %-9s %8s %9s\n' "$name" "$state" "$(cat "$RUN_DIR/$name.pid" 2>/dev/null || echo -)" "$(restarts "$name")"
    done
    printf '\n%s/readyz: ' "$(api_url)"
    curl -sk -m 3 "$(api_url)/readyz" || t 'does not answer'
    echo
}

logs_stack() {
    local options=(--dir "$RUN_DIR")
    [ "${FOLLOW:-1}" = 1 ] && options+=(--follow)
    exec "$BIN_DIR/llmo" logs "${options[@]}" "$@"
}

# Which model services there are, for the gateway; nothing where the user says so himself.
write_model_services() {
    local name port host
    "$BIN_DIR/llmo" config get discovery.file >/dev/null 2>&1 || return 0
    [ "$(setting gateway.upstreams | tr -d '[:space:]')" = '[]' ] || return 0
    [ -z "$(setting discovery.file | tr -d '"')" ] || return 0
    host=$(setting model.host | tr -d '"')
    case $host in 0.0.0.0) host=127.0.0.1 ;; ::) host='[::1]' ;; esac
    mkdir -p "$RUN_DIR"
    for name in model-service $(more_model_services); do
        port=$(cat "$RUN_DIR/$name.port" 2>/dev/null || setting model.port)
        printf '[[upstreams]]\nurl = "http://%s:%s"\n\n' "$host" "$port"
    done >"$MODEL_SERVICES.new"
    mv "$MODEL_SERVICES.new" "$MODEL_SERVICES"
}

# Waits until a service on this port is ready.
wait_service() { # NAME PORT
    local limit=$((SECONDS + ${LLMO_START_TIMEOUT:-180}))
    until "$BIN_DIR/llmo" healthcheck --url "http://127.0.0.1:$2" >/dev/null 2>&1; do
        if [ $SECONDS -ge $limit ] || [ "$(restarts "$1")" -ge 5 ]; then
            tail -n 5 "$RUN_DIR/$1.log" >&2
            fail "$(t '%s does not start; its last lines are above' "$1")" "$(t 'all of them: %s' "$RUN_DIR/$1.log")"
        fi
        sleep 0.2
    done
}

# scale_stack SERVICE=NUMBER…: the gateway learns of each from a file. New ones are told when they are ready, those that go
# are left out first and then drained.
scale_stack() {
    local wanted number name index running
    [ $# -gt 0 ] || fail "scale what?" "scale model-service=3"
    alive "$RUN_DIR/gateway.supervisor.pid" || fail "Nothing runs (start it: ./run_microservices.sh run)"
    [ -e "$MODEL_SERVICES" ] || fail "gateway.upstreams or discovery.file says which model services there are" "add them there, or unset it"
    for wanted in "$@"; do
        number=${wanted#*=}
        check_scale "${wanted%%=*}" "$number"
        [ "${wanted%%=*}" = model-service ] || fail "several gateways need Traefik in front of them: they cannot all have one port" "./run_microservices.sh run --docker --traefik"
        for ((index = 2; index <= number; index++)); do
            name=model-service-$index
            alive "$RUN_DIR/$name.supervisor.pid" && continue
            free_port >"$RUN_DIR/$name.port"
            start_service "$name"
            wait_service "$name" "$(cat "$RUN_DIR/$name.port")"
        done
        write_model_services
        running=$(more_model_services)
        for name in $running; do
            [ "${name##*-}" -gt "$number" ] || continue
            # Without it the gateway sends nothing there any more; what runs goes on.
            mv "$RUN_DIR/$name.supervisor.pid" "$RUN_DIR/$name.leaving"
            write_model_services
            mv "$RUN_DIR/$name.leaving" "$RUN_DIR/$name.supervisor.pid"
            sleep 1
            stop_service "$name"
        done
        say "Scaled %s" "$wanted"
    done
}

# restart_stack [OPTION…]: as before, and what options say: one process or services, monitoring, and how many model services.
restart_stack() {
    local options=("$@") replicas=1
    check_run_options "$@"
    if [[ " $* " != *" --mono "* ]] && alive "$RUN_DIR/mono.supervisor.pid"; then options+=(--mono); fi
    if [[ " $* " != *" --monitoring "* ]] && [ -n "$(running_monitors)" ]; then options+=(--monitoring); fi
    if alive "$RUN_DIR/model-service.supervisor.pid"; then replicas=$((1 + $(more_model_services | wc -l))); fi
    prepare_build
    build_stack
    stop_stack
    run_stack "${options[@]}"
    if [ "$replicas" -gt 1 ] && [[ " ${options[*]} " != *" --mono "* ]]; then
        scale_stack "model-service=$replicas"
        scaled_monitoring
    fi
}

# update_stack [SERVICE…]: services are replaced one by one. While the only model service is, another takes its place. The
# gateway is replaced only when it is named: its port can be held by one only, so that it is away for a moment.
update_stack() {
    local services=("$@") name replica port alone=0
    alive "$RUN_DIR/gateway.supervisor.pid" || fail "Nothing runs (start it: ./run_microservices.sh run)"
    if [ ${#services[@]} -eq 0 ]; then
        services=(storage-service cache-service model-service)
        note "the gateway is left as it is; without Traefik it would be away for a moment: update gateway"
    fi
    for name in "${services[@]}"; do
        [[ " ${SERVICES[*]} " == *" $name "* ]] || fail "$(t "unknown service '%s'" "$name")" "$(t 'services: %s' "${SERVICES[*]}")"
    done
    for name in "${services[@]}"; do
        if [ "$name" != model-service ]; then
            [ "$name" != gateway ] || note "without Traefik the gateway is away for a moment: its port can be held by one only"
            stop_service "$name"
            start_service "$name"
            wait_ready
            say "Updated %s" "$name"
            continue
        fi
        if [ -z "$(more_model_services)" ]; then alone=1; scale_stack model-service=2 >/dev/null; fi
        for replica in model-service $(more_model_services); do
            port=$(cat "$RUN_DIR/$replica.port" 2>/dev/null || setting model.port)
            stop_service "$replica"
            [ "$replica" = model-service ] || echo "$port" >"$RUN_DIR/$replica.port"
            start_service "$replica"
            wait_service "$replica" "$port"
            say "Updated %s" "$replica"
        done
        [ $alone = 0 ] || scale_stack model-service=1 >/dev/null
    done
}

doctor_stack() {
    [ -x "$BIN_DIR/llmo" ] || fail "there is no llmo for this machine" "./run_microservices.sh build"
    local role=services
    ! alive "$RUN_DIR/mono.supervisor.pid" || role=mono
    local parts=()
    [ -z "$(running_monitors)" ] || parts=(--with=monitoring)
    PROMETHEUS_PORT=$PROMETHEUS_PORT ALERTMANAGER_PORT=$ALERTMANAGER_PORT NODE_EXPORTER_PORT=$NODE_EXPORTER_PORT \
        REDIS_EXPORTER_PORT=$REDIS_EXPORTER_PORT LLMO_RUN_DIR=$RUN_DIR "$BIN_DIR/llmo" doctor --role "$role" "${parts[@]}" "$@"
}

clean_stack() {
    stop_stack
    local taken=${RUN_DIR:?}/bin
    rm -rf "$RUN_DIR/lock" "$RUN_DIR"/*.log "$RUN_DIR"/*.log.1 "$RUN_DIR"/*.pid "$RUN_DIR"/*.restarts "$RUN_DIR"/*.port "$MODEL_SERVICES" "$taken"
    rmdir "$RUN_DIR" 2>/dev/null || true
    say "Removed logs and state; models and what was compiled are kept (llmo rm MODEL; rm -r target)"
}
