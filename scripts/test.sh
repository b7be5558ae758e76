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

say "Test suite"
cargo test --release --locked --workspace --all-targets
cargo test --release --locked --workspace --doc

say "Smoke test of a running stack"
scripts/smoke.sh
