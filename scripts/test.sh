#!/usr/bin/env bash
# The whole test suite, then a smoke test of a running stack. Called by `./run_microservices.sh test`, which has installed
# what is needed and chosen the compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
. scripts/say.sh

# Weights for tests: the ones that users have, fetched as users fetch them.
say "Building"
cargo build --release --locked -p llmo -p llmo-server -p llmo-gateway
LLMO_TEST_MODELS=${LLMO_TEST_MODELS:-$(target_dir=${CARGO_TARGET_DIR:-target}; "$target_dir/release/llmo" config get store.dir)}
export LLMO_TEST_MODELS LLMO_STORE__DIR=$LLMO_TEST_MODELS
say "Fetching the models that tests use"
"${CARGO_TARGET_DIR:-target}/release/llmo" pull smollm2-135m minilm-l6

# All tests, also behind a failure. A target that failed is run once more: a machine may stall for seconds, and then the
# line "FLAKY" names what has to be mended. A second failure is one.
run_tests() {
    local log target targets
    log=$(mktemp)
    if cargo test --release --locked --workspace --no-fail-fast --all-targets 2>&1 | tee "$log"; then
        rm -f "$log"
        return 0
    fi
    # shellcheck disable=SC2016  # the backquotes are cargo's
    mapfile -t targets < <(sed -nE 's/^ +`-p [^ ]+ (--.*)`$/\1/p' "$log" | sort -u)
    rm -f "$log"
    [ ${#targets[@]} -gt 0 ] || return 1
    for target in "${targets[@]}"; do
        say "FLAKY, unless it fails again: $target"
        # shellcheck disable=SC2086  # an option and its value
        cargo test --release --locked --workspace $target || return 1
    done
}

say "Test suite"
run_tests
cargo test --release --locked --workspace --doc

S3_TEST_CARGO=--release scripts/s3_test.sh

say "The OpenAPI document, held against a running service"
BIN=${CARGO_TARGET_DIR:-target}/release/llmo-server EXAMPLES=8 tests/openapi/check.sh

say "What scripts start in the background"
scripts/detach_test.sh

say "A real Traefik in front of two gateways"
scripts/traefik.sh

say "Monitoring of a running stack"
scripts/monitoring_test.sh

say "Smoke test of a running stack"
scripts/smoke.sh
