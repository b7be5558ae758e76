#!/usr/bin/env bash
# Starts the stack as a user would, on free ports, asks it real questions with real clients, kills an engine and then the
# model service, looks how the gateway bears it, and stops everything. Expects the programs to be built and the models fetched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
. scripts/say.sh

# shellcheck source=scripts/testing.sh
. scripts/testing.sh

take_ports API_PORT DASHBOARD_PORT MODEL_SERVICE_PORT CACHE_SERVICE_PORT STORAGE_SERVICE_PORT
LLMO_RUN_DIR=$(mktemp -d)
# Processes, in English, whatever this machine prefers.
export LLMO_MODE=process LLMO_LANG=en
# On a busy machine the first load of a model, with its measurements, takes minutes. What is waited for below is waited for as
# long; what must be quick is measured elsewhere (scripts/show, benches).
export LLMO_START_TIMEOUT=600
export LLMO_RUN_DIR
export LLMO_API_URL=http://127.0.0.1:$API_PORT

finish() {
    ./run_microservices.sh stop || true
    if [ $failed -gt 0 ]; then
        for log in "$LLMO_RUN_DIR"/*.log; do echo "--- $log"; tail -n 40 "$log"; done
    fi
    rm -rf "$LLMO_RUN_DIR"
}
trap finish EXIT

# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh
choose_toolchain
run_stack

complete() { curl -s -m 180 "$LLMO_API_URL/v1/completions" -d '{"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}'; }
status_of() { curl -s -m 60 -o /dev/null -w '%{http_code}' "$LLMO_API_URL/api/generate" -d '{"prompt": "'"$RANDOM$RANDOM"'", "max_length": 4}'; }
answers_paris() { complete | has Paris; }
answers_in_the_spec_s_form() { curl -s -m 180 "$LLMO_API_URL/api/generate" -d '{"prompt": "What is the capital of France?", "max_length": 40}' | has '"response":"[^"].*"success":true'; }
# Never from the cache.
complete_paris_anew() { curl -s -m 180 "$LLMO_API_URL/v1/completions" -H 'cache-control: no-store' -d '{"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}' | has Paris; }
is_cached() { curl -s -m 180 -D - -o /dev/null "$LLMO_API_URL/api/generate" -d '{"prompt": "What is the capital of France?", "max_length": 40}' | has -i '^x-cache: hit'; }
dashboard_answers() { curl -sf -m 30 "http://127.0.0.1:$DASHBOARD_PORT/" | has -i '<html'; }
metrics_answer() { curl -sf -m 30 "http://127.0.0.1:$1/metrics" | has '^llmo_build_info'; }
second_run_is_harmless() { run_stack | has 'Already running'; }
status_lists_all() { [ "$(./run_microservices.sh status | grep -c running)" = 4 ]; }

say "Questions to the stack"
verdict "the model answers through the gateway" answers_paris
verdict "so it does in the plain dialect" answers_in_the_spec_s_form
verdict "the same question again comes from the cache" within 120 is_cached
verdict "the dashboard answers" dashboard_answers
for port in "$API_PORT" "$MODEL_SERVICE_PORT" "$CACHE_SERVICE_PORT" "$STORAGE_SERVICE_PORT"; do
    verdict "metrics on port $port" metrics_answer "$port"
done
verdict "a second run changes nothing" second_run_is_harmless
verdict "status lists four services" status_lists_all
verdict "doctor finds nothing that has to be cured" eval './run_microservices.sh doctor --json >/dev/null'

say "SIGABRT of the engine's process"
model_status() { curl -sf -m 30 "http://127.0.0.1:$MODEL_SERVICE_PORT/internal/status"; }
engine_pid() { model_status | tr -d '\n' | sed -n 's/.*"process":{"id":\([0-9][0-9]*\).*/\1/p'; }
another_engine() { local pid; pid=$(engine_pid) && [ -n "$pid" ] && [ "$pid" != "$1" ]; }
restart_is_counted() { curl -sf -m 30 "http://127.0.0.1:$MODEL_SERVICE_PORT/metrics" | has '^llmo_engine_restarts_total{.*reason="abort".*} 1'; }
service_before=$(cat "$LLMO_RUN_DIR/model-service.pid")
engine_before=$(engine_pid)
verdict "the engine has a process of its own" [ "${engine_before:-$service_before}" != "$service_before" ]
kill -ABRT "$engine_before" || true
verdict "another one takes its place" within 300 another_engine "$engine_before"
verdict "and answers through the gateway" within 300 complete_paris_anew
verdict "the restart is counted" restart_is_counted
verdict "the service itself lived on" [ "$(cat "$LLMO_RUN_DIR/model-service.pid")" = "$service_before" ]

say "SIGKILL of the model service"
killed_is_503() { [ "$(status_of)" = 503 ]; }
says_when() { curl -s -m 30 -D - -o /dev/null "$LLMO_API_URL/api/generate" -d '{"prompt": "again '"$RANDOM"'"}' | has -i '^retry-after:'; }
answers_again() { [ "$(status_of)" = 200 ]; }
# The supervisor is held, so that there is time to look; then it goes on and starts the service again.
supervisor=$(cat "$LLMO_RUN_DIR/model-service.supervisor.pid")
kill -STOP "$supervisor"
engine_now=$(engine_pid)
kill -KILL "$(cat "$LLMO_RUN_DIR/model-service.pid")"
# Not even as a zombie of a container that has nobody to bury it.
engine_is_gone() { ! [ -e "/proc/$1" ] || has ") Z " "/proc/$1/stat"; }
verdict "its engine dies with it" within 30 engine_is_gone "$engine_now"
verdict "the gateway says 503" within 30 killed_is_503
verdict "and says when to try again" says_when
kill -CONT "$supervisor"
verdict "it answers again after the supervisor's restart" within 300 answers_again

if "$BIN_DIR/llmo" config get discovery.file >/dev/null 2>&1; then
    say "A second model service, and away with it"
    usable() { [ "$(curl -s -m 30 "http://127.0.0.1:$DASHBOARD_PORT/api/replicas" | grep -o '"usable":true' | wc -l)" = "$1" ]; }
    verdict "scale starts it" ./run_microservices.sh scale model-service=2
    verdict "the gateway found it by itself" within 60 usable 2
    verdict "and both answer" complete_paris_anew
    verdict "scale ends it" ./run_microservices.sh scale model-service=1
    verdict "the gateway forgot it" within 60 usable 1
    verdict "and the first still answers" complete_paris_anew
fi

say "Clients of the dialects: openai, anthropic and ollama (Python), openai (npm)"
venv=${CARGO_TARGET_DIR:-target}/e2e-venv
cmp -s tests/e2e/requirements.txt "$venv/requirements.txt" || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/e2e/requirements.txt
    cp tests/e2e/requirements.txt "$venv/requirements.txt"
}
verdict "the Python clients' tests" "$venv/bin/pytest" -q -p no:cacheprovider tests/e2e
# Modules are looked for from the file upwards, so the test is run where they are.
node_dir=${CARGO_TARGET_DIR:-target}/e2e-node
mkdir -p "$node_dir"
if ! cmp -s tests/e2e/node/package.json "$node_dir/package.json" || ! [ -d "$node_dir/node_modules/openai" ]; then
    cp tests/e2e/node/package.json "$node_dir/"
    npm install --prefix "$node_dir" --no-audit --no-fund --loglevel=error
fi
cp tests/e2e/node/openai.test.mjs "$node_dir/"
verdict "the npm client's tests" npm test --silent --prefix "$node_dir"

say "Everything in one process"
stop_stack
run_stack --mono
verdict "llmo up answers" answers_paris
run_uses_the_stack() { "$BIN_DIR/llmo" run --raw -n 8 "The capital of France is" | has Paris; }
ps_lists_the_model() { "$BIN_DIR/llmo" ps | has smollm2-135m; }
verdict "llmo run uses the running stack" run_uses_the_stack
verdict "llmo ps lists the model" ps_lists_the_model

verdicts smoke
