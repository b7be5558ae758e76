# shellcheck shell=bash
# The stack as local processes: storage, cache, model and gateway, each under a supervisor (scripts/supervise.sh).
#
# run/NAME.supervisor.pid   the supervisor: TERM stops the service for good
# run/NAME.pid              the service itself
# run/NAME.log              its output

RUN_DIR=${LLMO_RUN_DIR:-$ROOT/run}
BIN_DIR=${CARGO_TARGET_DIR:-$ROOT/target}/release
SERVICES=(storage-service cache-service model-service gateway)
LOG_LIMIT_BYTES=$((64 * 1024 * 1024))

build_stack() {
    say "Building (the first time takes about ten minutes: llama.cpp is compiled for this machine)"
    cargo build --release --locked -p llmo -p llmo-server -p llmo-gateway ||
        fail "the build failed" "its messages are above; 'cargo build --release' repeats it"
}

# What the services on one host usually want; anything the user sets elsewhere overrides it.
service_presets() { printf '%s\n' --preset cache.backend=remote; }

service_command() {
    local presets
    mapfile -t presets < <(service_presets)
    case $1 in
        storage-service) COMMAND=("$BIN_DIR/llmo-server" store "${presets[@]}") ;;
        cache-service)   COMMAND=("$BIN_DIR/llmo-server" cache "${presets[@]}") ;;
        model-service)   COMMAND=("$BIN_DIR/llmo-server" model "${presets[@]}") ;;
        gateway)         COMMAND=("$BIN_DIR/llmo-gateway" "${presets[@]}") ;;
        mono)            COMMAND=("$BIN_DIR/llmo" up) ;;
        *)               fail "unknown service '$1'" "services: ${SERVICES[*]}" ;;
    esac
}

setting() { "$BIN_DIR/llmo" config get "$1"; }

alive() { [ -r "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

running_services() {
    local name
    for name in "${SERVICES[@]}" mono; do
        alive "$RUN_DIR/$name.supervisor.pid" && printf '%s\n' "$name"
    done
    return 0
}

run_stack() {
    local wanted=("${SERVICES[@]}") mode=services name
    while [ $# -gt 0 ]; do
        case $1 in
            --mono) wanted=(mono) mode=mono ;;
            *)      fail "unknown option '$1' for run" "options: --mono" ;;
        esac
        shift
    done
    local now
    now=$(running_services | tr '\n' ' ')
    if [ "$now" = "$(printf '%s ' "${wanted[@]}")" ]; then
        say "Already running"
        wait_ready
        print_urls
        return 0
    fi
    [ -z "$now" ] || fail "already running: $now" "stop it first: ./run_microservices.sh stop"

    "$BIN_DIR/llmo" config check >/dev/null || exit 1
    "$BIN_DIR/llmo" doctor --only ports --role "$mode" --quiet || exit 1
    pull_models
    mkdir -p "$RUN_DIR"
    say "Starting ${wanted[*]} (logs: ./run_microservices.sh logs)"
    for name in "${wanted[@]}"; do start_service "$name"; done
    wait_ready
    print_urls
}

pull_models() {
    local names
    names=$(setting model.names | tr -d '[]" ' | tr ',' ' ')
    [ -z "$(setting model.path)" ] || names=${names#* }
    # shellcheck disable=SC2086  # one word a model
    [ -z "$names" ] || "$BIN_DIR/llmo" pull $names || fail "the models could not be fetched" "the reason is above"
}

start_service() {
    local name=$1 log=$RUN_DIR/$1.log COMMAND
    service_command "$name"
    if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt "$LOG_LIMIT_BYTES" ]; then mv "$log" "$log.1"; fi
    setsid "$ROOT/scripts/supervise.sh" "$RUN_DIR" "$name" "${COMMAND[@]}" </dev/null >>"$log" 2>&1 &
    echo $! >"$RUN_DIR/$name.supervisor.pid"
}

# Waits until the gateway is ready, saying what it waits for whenever that changes.
wait_ready() {
    local url limit=$((SECONDS + ${LLMO_START_TIMEOUT:-180})) answer reason last='' name
    url=$(api_url)/readyz
    while [ $SECONDS -lt $limit ]; do
        answer=$(curl -s -m 2 -w '\n%{http_code}' "$url" 2>/dev/null || true)
        [ "${answer##*$'\n'}" = 200 ] && return 0
        reason=$(printf '%s' "${answer%$'\n'*}" | tr -d '\n' | cut -c1-200)
        [ -n "$reason" ] || reason="the gateway is starting"
        if [ "$reason" != "$last" ]; then note "waiting: $reason"; last=$reason; fi
        for name in $(running_services); do
            if [ "$(restarts "$name")" -ge 5 ]; then
                tail -n 5 "$RUN_DIR/$name.log" >&2
                stop_stack
                fail "$name does not start; its last lines are above" "all of them: $RUN_DIR/$name.log"
            fi
        done
        sleep 0.2
    done
    fail "the stack is not ready after ${LLMO_START_TIMEOUT:-180} s: $last" "look at the logs: ./run_microservices.sh logs"
}

restarts() { cat "$RUN_DIR/$1.restarts" 2>/dev/null || echo 0; }

api_url() {
    local port
    port=$(setting gateway.port)
    [ "$port" = 80 ] && echo "http://localhost" || echo "http://localhost:$port"
}

print_urls() {
    local api
    api=$(api_url)
    cat <<TEXT

llmo is ready.
    API         $api/api        (also OpenAI's: $api/v1)
    Dashboard   http://localhost:$(setting gateway.dashboard_port)

    curl $api/api/generate -d '{"prompt": "What is the capital of Germany?", "max_length": 40}'

    stop it:    ./run_microservices.sh stop
TEXT
}

stop_stack() {
    local name pid stopped=()
    # The gateway first: it drains while what it needs is still there.
    for name in gateway mono model-service cache-service storage-service; do
        alive "$RUN_DIR/$name.supervisor.pid" || continue
        pid=$(cat "$RUN_DIR/$name.supervisor.pid")
        kill -TERM "$pid"
        local limit=$((SECONDS + 45))
        while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $limit ]; do sleep 0.05; done
        if kill -0 "$pid" 2>/dev/null; then
            alive "$RUN_DIR/$name.pid" && kill -KILL "$(cat "$RUN_DIR/$name.pid")" 2>/dev/null
            kill -KILL "$pid" 2>/dev/null || true
        fi
        stopped+=("$name")
        rm -f "$RUN_DIR/$name".{supervisor.pid,pid,restarts}
    done
    if [ ${#stopped[@]} -eq 0 ]; then say "Nothing was running"; else say "Stopped ${stopped[*]}"; fi
}

status_stack() {
    local name state
    [ -n "$(running_services)" ] || { say "Nothing runs (start it: ./run_microservices.sh run)"; return 3; }
    printf '%-17s %-9s %8s %9s\n' SERVICE STATE PID RESTARTS
    for name in $(running_services); do
        state=running
        alive "$RUN_DIR/$name.pid" || state=starting
        printf '%-17s %-9s %8s %9s\n' "$name" "$state" "$(cat "$RUN_DIR/$name.pid" 2>/dev/null || echo -)" "$(restarts "$name")"
    done
    printf '\n%s/readyz: ' "$(api_url)"
    curl -s -m 3 "$(api_url)/readyz" || echo "does not answer"
    echo
}

logs_stack() {
    local files=() name
    if [ $# -gt 0 ]; then
        for name in "$@"; do
            local COMMAND
            service_command "$name"
            files+=("$RUN_DIR/$name.log")
        done
    else
        mapfile -t files < <(compgen -G "$RUN_DIR/*.log" || true)
    fi
    [ -e "${files[0]:-}" ] || fail "no logs yet" "start the stack: ./run_microservices.sh run"
    if [ "${FOLLOW:-1}" = 1 ]; then exec tail -n 50 -F "${files[@]}"; else exec tail -n 50 "${files[@]}"; fi
}
