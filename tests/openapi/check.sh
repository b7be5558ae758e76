#!/usr/bin/env bash
# Holds a running service (simulated model, nothing is loaded) against the OpenAPI document that it serves: a validator reads the
# document, and schemathesis makes requests of it and looks whether the answers are as described.
#
#     cargo build -p llmo-server --no-default-features && tests/openapi/check.sh
#     cargo build -p llmo-gateway && GATEWAY=target/debug/llmo-gateway tests/openapi/check.sh
#
# BIN: the program to start (target/debug/llmo-server). GATEWAY: a gateway that is put before it and checked instead of it.
# EXAMPLES: requests for each operation (25).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
BIN=${BIN:-$target/debug/llmo-server}
GATEWAY=${GATEWAY:-}
EXAMPLES=${EXAMPLES:-25}

venv=$target/openapi-venv
cmp -s tests/openapi/requirements.txt "$venv/requirements.txt" || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/openapi/requirements.txt
    cp tests/openapi/requirements.txt "$venv/requirements.txt"
}

work=$(mktemp -d)
. scripts/ports.sh
port=$(free_port)
MODEL_SERVICE_PORT=$port LLMO_STORE__DIR=$work LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES='["smollm2-135m"]' \
    "$BIN" model >"$work/log" 2>&1 &
services=($!)
finish() {
    kill "${services[@]}" 2>/dev/null || true
    wait "${services[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

url=http://127.0.0.1:$port
if [[ -n $GATEWAY ]]; then
    gate=$(free_port)
    # A fuzzer's requests differ: nothing to cache. What it sends is often refused upstream, which ejects nobody.
    API_PORT=$gate DASHBOARD_PORT=0 LLMO_GATEWAY__UPSTREAMS=$url LLMO_CACHE__BACKEND=off "$GATEWAY" >>"$work/log" 2>&1 &
    services+=($!)
    url=http://127.0.0.1:$gate
fi
for _ in $(seq 200); do
    curl -sf -m 1 "$url/readyz" >/dev/null && break
    kill -0 "${services[@]}" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.05
done

curl -sf "$url/openapi.json" >"$work/openapi.json"
"$venv/bin/openapi-spec-validator" "$work/openapi.json"

# Left out: what is not served here by design (501), pulls, which would fetch models, and valid requests that are refused
# (positive_data_acceptance): a schema can't say which orders of messages make sense.
"$venv/bin/schemathesis" run "$work/openapi.json" --url "$url" --max-examples "$EXAMPLES" --seed 1 --no-color \
    --phases examples,fuzzing --exclude-path-regex '^/api/(pull|delete|copy|create|push)$' \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --request-timeout 20

kill -0 "${services[@]}" || { echo "a service is gone"; tail -n 20 "$work/log"; exit 1; }
