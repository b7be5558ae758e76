#!/usr/bin/env bash
# What scripts/build_portable.sh made: it starts, takes kernels for this processor, and exports spans to a collector.
#
#   scripts/portable_test.sh [DIRECTORY]        (default: dist)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/testing.sh
. scripts/testing.sh

dist=$(realpath "${1:-dist}")
work=$(mktemp -d)
others=()
finish() {
    local pid
    for pid in "${others[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ $failed -gt 0 ]; then tail -n 15 "$work"/*.log; fi
    rm -rf "$work"
}
trap finish EXIT
# start NAME COMMAND…: in the background, its output in $work/NAME.log
start() {
    local name=$1
    shift
    (cd "$work" && exec "$@") >"$work/$name.log" 2>&1 </dev/null &
    others+=($!)
}

take_ports COLLECTOR API_PORT DASHBOARD_PORT MODEL_SERVICE_PORT
export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$COLLECTOR LLMO_STORE__DIR=$work/store LLMO_CACHE__BACKEND=off
for program in llmo llmo-server llmo-gateway; do verdict "$program starts" "$dist/$program" --version; done
verdict "a processor's kernels are chosen when it starts" "$dist/llmo" doctor --only kernels

start collector python3 "$ROOT/tests/otlp/collector.py" "$COLLECTOR"
start model env LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim "$dist/llmo-server" model
start gateway "$dist/llmo-gateway"
ready() { curl -sf -m 5 -o /dev/null "http://127.0.0.1:$API_PORT/readyz"; }
verdict "a gateway and a model service are ready" within 60 ready
trace=4bf92f3577b34da6a3ce929d0e0e4736
ask() {
    curl -sf -m 30 "http://127.0.0.1:$API_PORT/v1/completions" -H "traceparent: 00-$trace-00f067aa0ba902b7-01" \
        -d '{"model": "sim", "prompt": "a", "max_tokens": 3}' | has '"text":'
}
verdict "they answer" ask
exported() { has "^$1 $trace " "$work/collector.log"; }
for service in gateway model-service; do verdict "the span of the $service is at the collector, in its caller's trace" within 30 exported "$service"; done
sed 's/^/            /' "$work/collector.log"
verdicts portable
