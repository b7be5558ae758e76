#!/usr/bin/env bash
# Real containers, from building to stopping: ./run_microservices.sh test --docker
#
# Builds the image, starts the stack behind a real Traefik, asks the real model, scales to three, kills one of them under load,
# replaces all by a rolling update under load, stops, and looks what is left. Prints the image's size and the start's time.
#
#   BINARIES=prebuilt PREBUILT=dist   takes programs of scripts/build_portable.sh instead of compiling in the image's build
#   STREAMS=12 TOKENS=120             how much load: no more streams than three model services have slots
#   ENGINE=sim                        the simulator instead of the real model: for busy machines
#   CLIENTS=2                         how many ask one question after the other around the rolling update
#   MODEL_CPUS=1                      processors of a model service: at first an equal share of this machine's for three, but at least one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=docker/testing.sh
. docker/testing.sh test

if [ "${ENGINE:-real}" = sim ]; then
    export LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim LLMO_MODEL__SLOTS=16 LLMO_MODEL__SIM_TOKENS_PER_SECOND=20
    answer='"text":"..*"'
fi
# Threads of an engine wait for each other by spinning: three engines that all believe the machine theirs stand still.
fair_share=$(($(nproc) / 3))
export MODEL_CPUS=${MODEL_CPUS:-$((fair_share > 0 ? fair_share : 1))}
api=http://127.0.0.1:$API_PORT
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

ensure_engine
say "Engine %s, Compose %s" "$("$DOCKER" version --format '{{.Server.Version}}')" "$("${COMPOSE[@]}" version --short)"

say "Build (programs: ${BINARIES:-build})"
start=$(date +%s.%N)
build_containers | sed 's/^/    /'
echo "    image size: $(image_size), built in $(seconds_since "$start") s"
is_small() { [ "$("$DOCKER" image inspect --format '{{.Size}}' "$IMAGE")" -le 200000000 ]; }
user_is_nobody_special() { [ "$("$DOCKER" image inspect --format '{{.Config.User}}' "$IMAGE")" = 10001:10001 ]; }
verdict "the image has at most 200 MB" is_small
verdict "its user is not root" user_is_nobody_special

say "Start"
start=$(date +%s.%N)
seed_models_for_test() { mkdir -p "$RUN_DIR"; write_settings; seed_models; }
seed_models_for_test | sed 's/^/    /'
echo "    models in their volume after $(seconds_since "$start") s"
start=$(date +%s.%N)
./run_microservices.sh run --traefik | sed 's/^/    /'
echo "    ready $(seconds_since "$start") s after the start, model loaded and measured for the first time"

say "Questions through Traefik"
answers_paris() { curl -s -m 60 "$api/v1/completions" -d '{"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}' | has "${answer:-Paris}"; }
traefik_saw_it() { logs_of traefik | has '"ServiceName":"gateway@file"'; }
logs_of() { FOLLOW=0 ./run_microservices.sh logs "$1" 2>/dev/null; }
spec_form() { curl -s -m 60 "$api/api/generate" -d '{"prompt": "What is the capital of France?", "max_length": 40}' | has '"success":true'; }
health_answers() { curl -s -m 5 "$api/api/health" | has '"status"'; }
dashboard_code() { curl -s -m 5 -o /dev/null -w '%{http_code}' "$@"; }
closed_without_password() { [ "$(dashboard_code "http://127.0.0.1:$DASHBOARD_PORT/dashboard/")" = 401 ]; }
open_with_password() { [ "$(dashboard_code -u "admin:$(cat "$SECRETS/dashboard_password")" "http://127.0.0.1:$DASHBOARD_PORT/dashboard/")" = 200 ]; }
replicas() { curl -s -m 5 -u "admin:$(cat "$SECRETS/dashboard_password")" "http://127.0.0.1:$LLMO_DASHBOARD_PORT/api/replicas"; }
ready_replicas() { replicas | python3 -c 'import json, sys
told = json.load(sys.stdin)
told = told if isinstance(told, list) else told["replicas"]
print(sum(replica["usable"] for replica in told))' 2>/dev/null; }
sees() { [ "$(ready_replicas)" = "$1" ]; }
one_at_home() { "$DOCKER" ps --filter "label=com.docker.compose.project=$PROJECT" --format '{{.Ports}}' | tr ',' '\n' | grep -- '->' | has -v '127.0.0.1:' && return 1; return 0; }
nothing_can_be_written() { local id; id=$(replicas_of gateway | head -n 1); [ "$("$DOCKER" inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' "$id")" = "true [ALL]" ]; }
no_way_out() { [ "$("$DOCKER" network inspect --format '{{.Internal}}' "${PROJECT}_inner" "${PROJECT}_data" | sort -u)" = true ]; }
no_secret_is_an_argument() {
    running_ids | xargs "$DOCKER" inspect >"$work/inspect.json" && ! has -F "$(cat "$SECRETS/redis_password")" "$work/inspect.json"
}
# shellcheck disable=SC2016  # the container's shell expands it
redis_has_answers() { "$DOCKER" exec "$(replicas_of redis)" sh -c 'REDISCLI_AUTH=$(sed -n "s/^requirepass //p" /run/secrets/redis_conf) redis-cli dbsize' | has -E '^[1-9]'; }
# One JSON document: checks of this machine and of each model service, and none has found a problem.
doctor_is_content() {
    ./run_microservices.sh doctor --json >"$work/doctor.json"
    python3 - "$work/doctor.json" "$@" <<'PYTHON'
import json, sys
checks = json.load(open(sys.argv[1]))
problems = [finding for check in checks for finding in check["findings"] if finding["state"] == "problem"]
places = {check.get("place") for check in checks}
seen = {(check["name"], "place" in check) for check in checks}
wanted = {("ports", False), ("containers", False), ("memory", True), ("models", True), ("kernels", True)}
ports = " ".join(finding["what"] for check in checks if check["name"] == "ports" for finding in check["findings"])
absent = [port for port in sys.argv[2:] if f"port {port} " not in ports]
if problems or not wanted <= seen or len(places) < 2 or absent:
    sys.exit(f"problems {problems}, checks {seen}, places {places}, ports not looked at {absent}")
PYTHON
}
no_port_of_the_gateway() { [ -z "$("$DOCKER" port "$(replicas_of gateway | head -n 1)")" ]; }
# Every service's container is named, and the request is found in those that it went through.
request_is_found() {
    curl -s -m 60 -o /dev/null -H "x-request-id: $1" -H 'cache-control: no-store' "$api/v1/completions" -d '{"prompt": "again", "max_tokens": 4}'
    within 20 eval "FOLLOW=0 ./run_microservices.sh logs --request '$1' >'$work/request.log' && has '^gateway-1 *| ' '$work/request.log' && has '^model-service-1 *| ' '$work/request.log'"
}
# To the second: lines of one service are in the order in which it wrote them.
log_is_by_time() {
    FOLLOW=0 ./run_microservices.sh logs -n 200 gateway model-service cache-service --raw | sed -nE 's/.*"timestamp":"([^".]*).*/\1/p' >"$work/times"
    [ -s "$work/times" ] && sort -c "$work/times"
}
verdict "the model answers" answers_paris
verdict "so it does in the plain dialect" spec_form
verdict "GET /api/health answers" health_answers
verdict "the request went through Traefik" within 5 traefik_saw_it
verdict "the answer is kept in Redis" within 10 redis_has_answers
verdict "Traefik's dashboard wants a password" closed_without_password
verdict "and opens with the generated one" open_with_password
verdict "all published ports are 127.0.0.1's" one_at_home
verdict "root file systems are read-only, capabilities dropped" nothing_can_be_written
verdict "the inner networks lead nowhere" no_way_out
verdict "no password is an argument or a variable of a container" no_secret_is_an_argument
verdict "a second run changes nothing" eval './run_microservices.sh run | has "Already running"'
verdict "doctor finds no problem" doctor_is_content "$API_PORT" "$DASHBOARD_PORT" "$LLMO_DASHBOARD_PORT"
verdict "behind Traefik the gateway publishes nothing of its own" no_port_of_the_gateway
verdict "logs show a request in all services" request_is_found "test-$$"
verdict "and are merged by time" log_is_by_time
verdict "test --smoke asks what runs" eval './run_microservices.sh test --smoke | sed "s/^/    /"'
./run_microservices.sh status | sed 's/^/    /'

say "Scale to three"
start=$(date +%s.%N)
./run_microservices.sh scale model-service=3 | sed 's/^/    /'
verdict "the gateway found three by itself" within 20 sees 3
echo "    three replicas $(seconds_since "$start") s after the command"

say "One of three killed under load"
python3 docker/load.py "$api" streams "${STREAMS:-12}" "${TOKENS:-120}" >"$work/calm.json" 2>/dev/null || true
echo "    undisturbed: $(cat "$work/calm.json")"
python3 docker/load.py "$api" streams "${STREAMS:-12}" "${TOKENS:-120}" >"$work/killed.json" 2>"$work/progress" &
load=$!
touch "$work/progress"
within 120 has running "$work/progress" || { kill $load 2>/dev/null || true; fail "no stream began"; }
victim=$(replicas_of model-service | head -n 1)
kill -KILL "$("$DOCKER" inspect --format '{{.State.Pid}}' "$victim")"
wait $load || true
echo "    one killed:  $(cat "$work/killed.json")"
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
none_broken() { [ "$(field "$work/killed.json" broken)" = 0 ]; }
same_text() { [ "$(field "$work/killed.json" text)" = "$(field "$work/calm.json" text)" ]; }
it_is_back() { [ "$("$DOCKER" inspect --format '{{.State.Health.Status}} {{.RestartCount}}' "$victim")" = "healthy 1" ]; }
none_broken_before() { [ "$(field "$work/calm.json" broken)" = 0 ]; }
verdict "undisturbed, no stream is broken" none_broken_before
verdict "no stream is broken by it" none_broken
verdict "every text is that of the undisturbed run" same_text
verdict "the engine started the container again" within 120 it_is_back
verdict "the gateway has three again" within 20 sees 3

say "Rolling update under load: three model services, two gateways"
./run_microservices.sh scale gateway=2 | sed 's/^/    /'
rm -f "$work/progress"
python3 docker/load.py "$api" steady 900 "${CLIENTS:-2}" >"$work/update.json" 2>"$work/progress" &
load=$!
within 10 has running "$work/progress"
before=$(running_ids)
start=$(date +%s.%N)
./run_microservices.sh update model-service gateway | sed 's/^/    /'
echo "    updated in $(seconds_since "$start") s"
verdict "requests came until the end of the update" kill -0 $load
# And for a while with the new ones only.
sleep 3
kill -TERM $load 2>/dev/null || true
wait $load || true
echo "    $(cat "$work/update.json")"
none_failed() { [ "$(field "$work/update.json" failed)" = 0 ]; }
all_are_new() { [ -z "$(comm -12 <(printf '%s\n' "$before") <({ replicas_of_all model-service; replicas_of_all gateway; } | sort))" ]; }
replicas_of_all() { "$DOCKER" ps -q --no-trunc --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1"; }
verdict "no request failed" none_failed
verdict "every model service and gateway is a new container" all_are_new

say "Update of the others"
before=$(running_ids)
./run_microservices.sh update storage-service cache-service | sed 's/^/    /'
are_new() { local name; for name in "$@"; do ! has -F "$(replicas_of_all "$name")" <<<"$before" || return 1; done; }
verdict "storage and cache service are new containers" are_new storage-service cache-service
verdict "the model still answers" answers_paris

say "Restart"
./run_microservices.sh restart | sed 's/^/    /'
as_many() { [ "$(replicas_of_all "$1" | wc -l)" = "$2" ]; }
verdict "there are three model services, as before" as_many model-service 3
verdict "and two gateways" as_many gateway 2
verdict "behind Traefik" answers_paris

say "Stop"
start=$(date +%s.%N)
./run_microservices.sh stop | sed 's/^/    /'
echo "    stopped in $(seconds_since "$start") s"
port_is_free() { ! curl -s -m 2 -o /dev/null "$api/"; }
verdict "no container and no network is left" nothing_is_left
verdict "the port is free" port_is_free
verdict "a second stop is harmless" eval './run_microservices.sh stop | has "Nothing was running"'

verdicts containers
