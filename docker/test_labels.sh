#!/usr/bin/env bash
# Found by labels, at a real engine: the gateway by a real Traefik 3 (its Docker provider reads what docker/compose.yaml says), and
# model services by a gateway's own Docker provider (llmo.enable, llmo.model, llmo.port).
#
#   docker/test_labels.sh        (after ./run_microservices.sh test --docker, which makes the image). The simulator answers.
#
# Traefik and that gateway are processes of this machine: both need the engine's socket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=docker/testing.sh
. docker/testing.sh labels
export LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim LLMO_MODEL__SIM_TOKENS_PER_SECOND=40

take_ports WEB_PORT TRAEFIK_API_PORT OWN_PORT OWN_DASHBOARD_PORT
# start NAME COMMAND…: in the background, its output in $work/NAME.log
start() {
    local name=$1
    shift
    (cd "$work" && exec "$@") >"$work/$name.log" 2>&1 </dev/null &
    others+=($!)
}
# comes_in_pieces URL BODY: fails unless the first byte comes long before the last.
comes_in_pieces() {
    local times
    times=$(curl -sf -N -m 30 -o "$work/stream" -w '%{time_starttransfer} %{time_total}' "$1" -H 'content-type: application/json' -d "$2")
    awk '{ print "            first byte after " $1 " s of " $2 " s"; exit !($1 < $2 / 2) }' <<<"$times"
}
status_of() { curl -s -m 10 -o /dev/null -w '%{http_code}' "$@"; }

ensure_engine
engine=${DOCKER_HOST:-unix:///var/run/docker.sock}
[[ $engine == unix://* ]] || fail "the engine has to be this machine's: $engine"
traefik=$(scripts/traefik.sh install)
llmo=$(host_llmo) || fail "there is no llmo for this machine" "./run_microservices.sh build"

say "Traefik's Docker provider"
./run_microservices.sh run | sed 's/^/    /'
start traefik "$traefik" --providers.docker.endpoint="$engine" --providers.docker.exposedByDefault=false \
    --providers.docker.constraints="Label(\`com.docker.compose.project\`,\`$PROJECT\`)" \
    --entryPoints.web.address="127.0.0.1:$WEB_PORT" --entryPoints.traefik.address="127.0.0.1:$TRAEFIK_API_PORT" --api.insecure \
    --global.checkNewVersion=false --log.level=INFO
# traefik_knows WHAT EXPRESSION: of Python, about what its API has `told`.
traefik_knows() {
    curl -sf -m 5 -o "$work/told" "http://127.0.0.1:$TRAEFIK_API_PORT/api/http/$1" &&
        python3 -c "import json, sys; told = json.load(open(sys.argv[1])); sys.exit(not ($2))" "$work/told"
}
address=$("$DOCKER" inspect --format "{{(index .NetworkSettings.Networks \"${PROJECT}_edge\").IPAddress}}" "$(replicas_of gateway)")
echo "    $("$traefik" version | head -n 1 | tr -s ' '), the gateway at $address"
verdict "it finds the gateway by its labels, in the network that they name" within 30 traefik_knows services/llmo@docker \
    "told['serverStatus'] == {'http://$address:8000': 'UP'}"
verdict "the router is enabled, the least of all" traefik_knows routers/llmo@docker "told['status'] == 'enabled' and told['priority'] == 1"
verdict "what no gateway has begun to answer is sent again, a POST too" traefik_knows middlewares/llmo-again@docker \
    "{'attempts': 8, 'initialInterval': '100ms', 'status': ['502'], 'retryNonIdempotentMethod': True}.items() <= told['retry'].items() or print(told)"
verdict "health checks and flushing are as in the labels" traefik_knows services/llmo@docker \
    "told['loadBalancer']['healthCheck']['path'] == '/readyz' and told['loadBalancer']['responseForwarding']['flushInterval'] == '-1ms'"
web=http://127.0.0.1:$WEB_PORT
verdict "the API answers through it" [ "$(status_of "$web/readyz")" = 200 ]
verdict "SSE comes piece by piece" comes_in_pieces "$web/v1/completions" '{"model": "sim", "prompt": "a", "max_tokens": 40, "stream": true}'
verdict "and to its end" grep -q '^data: \[DONE\]' "$work/stream"
verdict "lines of JSON come piece by piece" comes_in_pieces "$web/api/generate" '{"model": "sim", "prompt": "a", "stream": true, "options": {"num_predict": 40}}'
"$DOCKER" stop --time 45 "$(replicas_of gateway)" >/dev/null
forgotten() { [ "$(status_of "$web/readyz")" = 404 ]; }
verdict "a gateway that is stopped is forgotten" within 15 forgotten
./run_microservices.sh stop | sed 's/^/    /'

say "llmo's own Docker provider"
start gateway env API_PORT="$OWN_PORT" DASHBOARD_PORT="$OWN_DASHBOARD_PORT" LLMO_DISCOVERY__DOCKER="${engine#unix://}" LLMO_CACHE__BACKEND=off \
    "$llmo" serve gateway
# model_container NAME LABEL…: a model service of its own, in the engine's default network.
model_container() {
    local name=$1 label labels=()
    shift
    for label in "$@"; do labels+=(--label "$label"); done
    "$DOCKER" run -d --name "$PROJECT-$name" --label "com.docker.compose.project=$PROJECT" --label "com.docker.compose.service=$name" \
        --read-only --tmpfs /tmp -e LLMO_STORE__DIR=/tmp/models -e LLMO_MODEL__ENGINE=sim -e LLMO_MODEL__NAMES=sim -e LLMO_MODEL__SIM_TOKENS_PER_SECOND=40 \
        "${labels[@]}" "$IMAGE" serve model >/dev/null
}
address_of() { "$DOCKER" inspect --format '{{.NetworkSettings.Networks.bridge.IPAddress}}' "$PROJECT-$1"; }
remove() { "$DOCKER" rm -f "$PROJECT-$1" >/dev/null; }
own=http://127.0.0.1:$OWN_PORT
# usable NAME…: are those containers the gateway's usable replicas, and no others?
usable() {
    local name wanted=()
    for name in "$@"; do wanted+=("$(address_of "$name"):8081"); done
    curl -sf -m 5 -o "$work/replicas" "http://127.0.0.1:$OWN_DASHBOARD_PORT/api/replicas" && python3 -c '
import json, sys
told = json.load(open(sys.argv[1]))
sys.exit(sorted(each["id"] for each in told if each["usable"]) != sorted(sys.argv[2:]))' "$work/replicas" "${wanted[@]}"
}
answers_as() { curl -s -m 10 "$own/v1/completions" -d "{\"model\": \"$1\", \"prompt\": \"a\", \"max_tokens\": 4}" | has '"text":'; }
unknown() { [ "$(status_of "$own/v1/completions" -d "{\"model\": \"$1\", \"prompt\": \"a\", \"max_tokens\": 4}")" = 404 ]; }

model_container first llmo.enable=true llmo.port=8081 llmo.model=assistant=sim
verdict "a container with the labels is a replica" within 30 usable first
verdict "under the name that llmo.model gives it" within 10 answers_as assistant
verdict "and no other" unknown sim
verdict "its stream comes piece by piece" comes_in_pieces "$own/v1/completions" '{"model": "assistant", "prompt": "a", "max_tokens": 40, "stream": true}'
model_container unlabelled some=label
model_container second llmo.enable=true llmo.port=8081
verdict "one that comes later is found, one without the label is not" within 30 usable first second
verdict "without llmo.model it serves what it has" within 10 answers_as sim
model_container wrong llmo.enable=true llmo.port=many
named_in_the_log() { grep -q 'llmo.port' "$work/gateway.log"; }
verdict "one with a wrong label is named in the log" within 20 named_in_the_log
verdict "and left out; the others stay" usable first second
remove first
verdict "one that is removed goes" within 15 usable second
verdict "and its name with it" within 15 unknown assistant
for name in second unlabelled wrong; do remove "$name"; done

verdict "no container and no network is left" nothing_is_left
verdicts labels
