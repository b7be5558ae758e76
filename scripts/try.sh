# shellcheck shell=bash
# `test --smoke`: does the stack that runs now answer? Some seconds, nothing is compiled, started or stopped; a model is asked
# for two dozen tokens.

TRIED=0 TRIED_IN_VAIN=0

# tried NAME COMMAND…
tried() {
    local name=$1
    shift
    if "$@"; then
        TRIED=$((TRIED + 1))
        printf '    ok      %s\n' "$(t "$name")"
    else
        TRIED_IN_VAIN=$((TRIED_IN_VAIN + 1))
        printf '    FAILED  %s\n' "$(t "$name")"
    fi
}

# grep that reads to the end: with -q it would leave early, and the writer would die of it.
has() { grep "$@" >/dev/null; }

try_stack() {
    local gateway
    [ -n "$(running_services)" ] || fail "Nothing runs (start it: ./run_microservices.sh run)"
    build_is_there
    TRY_URL=$(api_url)
    gateway=$(setting gateway.dashboard_port)
    TRY_DASHBOARD=(http://127.0.0.1:"$gateway")
    say "Asking what runs at %s" "$TRY_URL"
    try_api
    [ "$gateway" = 0 ] || tried "the dashboard answers" dashboard_has '<html' /
    if alive "$RUN_DIR/gateway.supervisor.pid"; then
        tried "every service is ready" every_process_is_ready
        tried "every service has metrics" every_process_has_metrics
        [ -z "$(running_monitors)" ] || try_monitors "$PROMETHEUS_PORT" "$ALERTMANAGER_PORT" "$MONITORING_SECRETS"
    else
        tried "there are metrics" api_has '^llmo_build_info' /metrics
    fi
    tell_tried
}

try_containers() {
    [ -n "$(running_ids)" ] || fail "Nothing runs (start it: ./run_microservices.sh run)"
    TRY_URL=$(container_api_url)
    TRY_DASHBOARD=("http://127.0.0.1:$(container_setting DASHBOARD_PORT 8080)")
    if has_profile traefik; then
        TRY_DASHBOARD=(-u "admin:$(cat "$SECRETS/dashboard_password")" "http://127.0.0.1:$(container_setting LLMO_DASHBOARD_PORT 8090)")
    fi
    say "Asking what runs at %s" "$TRY_URL"
    try_api
    tried "the dashboard answers" dashboard_has '<html' /
    ! has_profile traefik || tried "and wants a password" dashboard_is_closed
    tried "every container is well" every_container_is_well
    tried "there are metrics" dashboard_has '^llmo_build_info' /metrics
    ! has_profile monitoring || try_monitors "$(container_setting PROMETHEUS_PORT 9090)" "$(container_setting ALERTMANAGER_PORT 9093)" "$SECRETS"
    tell_tried
}

build_is_there() { [ -x "$BIN_DIR/llmo" ] || fail "there is no llmo for this machine" "./run_microservices.sh build"; }

# What people do: health, a text, the same as a stream, once more from the cache.
try_api() {
    # Never asked before.
    TRY_PROMPT="Count from one to ten ($$-$RANDOM-$RANDOM)."
    tried "it is ready" api_has '"ready":true' /readyz
    tried "GET /api/health answers" api_has '"status"' /api/health
    tried "models are listed" api_has '"id":"' /v1/models
    tried "a text is generated" generates
    if has_cache; then tried "the same question again is answered from the cache" answers_from_the_cache; else note "there is no cache"; fi
    tried "a stream comes in pieces, and to its end" streams
    tried "what is wrong is refused" refuses_nonsense
}

# No time-out for a model that is loaded on demand: that takes what it takes. This machine's name is in no certificate.
ask() { curl -sk -m 300 "$@"; }
api_has() { ask -m 30 "$TRY_URL$2" | has -F -- "${1#^}"; }
dashboard_has() { ask -m 30 "${TRY_DASHBOARD[@]:0:${#TRY_DASHBOARD[@]}-1}" "${TRY_DASHBOARD[-1]}$2" | has -iF -- "${1#^}"; }
dashboard_is_closed() { [ "$(ask -m 30 -o /dev/null -w '%{http_code}' "${TRY_DASHBOARD[-1]}/")" = 401 ]; }
generate() { ask "$@" "$TRY_URL/api/generate" -d "{\"prompt\": \"$TRY_PROMPT\", \"max_length\": 24}"; }
generates() { generate | has '"response":"[^"].*"success":true'; }
# Without a cache no answer says anything of one.
has_cache() { generate -D - -o /dev/null | has -i '^x-cache:'; }
# An answer is stored behind its end.
answers_from_the_cache() {
    local limit=$((SECONDS + 10))
    until generate -D - -o /dev/null | has -i '^x-cache: hit'; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.2
    done
}
streams() {
    local events
    # Drawn at random, one answer in ten of a small model to a strange prompt is empty.
    events=$(ask -N "$TRY_URL/v1/completions" -H 'content-type: application/json' -H 'cache-control: no-store' \
        -d '{"prompt": "One, two, three, four,", "temperature": 0, "max_tokens": 24, "stream": true}' | grep '^data: ')
    [ "$(wc -l <<<"$events")" -ge 3 ] && [ "$(tail -n 1 <<<"$events")" = 'data: [DONE]' ]
}
refuses_nonsense() {
    [ "$(ask -o /dev/null -w '%{http_code}' "$TRY_URL/v1/completions" -H 'content-type: application/json' -d '{"prompt": 1.5}')" = 400 ]
}

process_ports() {
    local name
    printf '%s\n' "$(setting cache.port)" "$(setting store.port)" "$(setting model.port)"
    for name in $(more_model_services); do cat "$RUN_DIR/$name.port"; done
}
every_process_is_ready() {
    local port
    for port in $(process_ports); do "$BIN_DIR/llmo" healthcheck --url "http://127.0.0.1:$port" >/dev/null || return 1; done
}
every_process_has_metrics() {
    local port
    for port in $(process_ports); do ask -m 30 "http://127.0.0.1:$port/metrics" | has '^llmo_build_info' || return 1; done
    api_has '^llmo_build_info' /metrics
}
every_container_is_well() {
    local told
    told=$("$DOCKER" ps -a --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.oneoff=False --format '{{.State}} {{.Status}}')
    # s3-bucket has done its work.
    ! grep -vE '^running|^exited Exited \(0\)' <<<"$told" >/dev/null && ! has -E '\(unhealthy\)|\(health: starting\)' <<<"$told"
}

try_monitors() { # PROMETHEUS_PORT ALERTMANAGER_PORT SECRETS
    tried "Prometheus has every service" prometheus_has_all "$1" "$3"
    tried "Prometheus wants a password" wants_password "http://127.0.0.1:$1/api/v1/query?query=up"
    tried "Alertmanager wants a password" wants_password "http://127.0.0.1:$2/api/v2/alerts"
}
wants_password() { [ "$(ask -m 30 -o /dev/null -w '%{http_code}' "$1") $(ask -m 30 -u admin:admin -o /dev/null -w '%{http_code}' "$1")" = "401 401" ]; }
# One that has just started has to scrape them first.
prometheus_has_all() { # PORT SECRETS
    local limit=$((SECONDS + 30)) url=http://127.0.0.1:$1/api/v1/query
    until as_admin "$2/prometheus_password" -s -m 30 "$url" --data-urlencode 'query=count(count by (job) (up{job=~"gateway|model-service|cache-service|storage-service"} == 1))' | has '"4"\]'; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 1
    done
}

tell_tried() {
    say "%s of %s are well" "$TRIED" "$((TRIED + TRIED_IN_VAIN))"
    [ $TRIED_IN_VAIN -eq 0 ] || { note "what is wrong, and the cure: ./run_microservices.sh doctor"; exit 1; }
}
