#!/usr/bin/env bash
# The storage service's S3 for real: a server that speaks S3 (PyPI's moto, which checks signatures), with keys in files.
#
#   S3_TEST_CARGO="--release"     how cargo compiles
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/engine.sh
. scripts/engine.sh
# shellcheck source=scripts/testing.sh
. scripts/testing.sh

ensure_venv "test"
ensure_python_tool moto_server 'moto[server]'
work=$(mktemp -d)
port=$(free_port)
server=''
finish() {
    local code=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ $code -eq 0 ] || tail -n 30 "$work/log" >&2 || true
    rm -rf "$work"
}
trap finish EXIT

INITIAL_NO_AUTH_ACTION_COUNT=4 "$PYTHON_TOOLS/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/log" 2>&1 &
server=$!
within 60 port_answers "$port" || fail "the S3 server did not start; its last lines are below"
export LLMO_TEST_S3_ENDPOINT=http://127.0.0.1:$port
"$PYTHON_TOOLS/bin/python" tests/s3/prepare.py "$LLMO_TEST_S3_ENDPOINT" "$work"

unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
export AWS_ACCESS_KEY_ID_FILE=$work/id AWS_SECRET_ACCESS_KEY_FILE=$work/secret
read -r -a options <<<"${S3_TEST_CARGO:-}"
test=(cargo test --quiet --locked "${options[@]}" -p llmo-store --features s3 --test s3)
say "S3: a bucket with keys from files"
"${test[@]}"
say "S3: a key that is not the bucket's"
AWS_SECRET_ACCESS_KEY=wrong "${test[@]}" -- --ignored
