#!/usr/bin/env bash
# Builds llmo-gateway for this machine, with a profile: once with counters in it, then a load that is typical of a gateway, then once
# more, laid out and inlined by what was counted. It takes half of the processor time of the usual build, or less (docs/performance.md).
#
#   scripts/build_gateway.sh [FILE]        (default: dist/llmo-gateway; about half an hour on two cores)
#
# The load is benches/gateway/load's: whole answers and streams from a canned upstream, with and without cache and access log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh
# shellcheck source=scripts/ports.sh
. scripts/ports.sh

out=${1:-dist/llmo-gateway}
ensure_build_packages
choose_toolchain
# Newer compilers read what older tools wrote, as long as the counters' own format is the same: 19 has that of 20 to 22.
ensure_packages "build" "/usr/bin/llvm-profdata-19=llvm-19"
profdata=$(compgen -G "/usr/bin/llvm-profdata-*" | sort -V | tail -n 1)
base=${CARGO_TARGET_DIR:-$ROOT/target}
host=$(rustc -vV | sed -n 's/^host: //p')
work=$(mktemp -d)
pids=()
# shellcheck disable=SC2317,SC2329  # called by trap
clean() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

# build NAME FLAGS: with a --target, so that build scripts and macros, which run on this machine, are not profiled.
build() {
    RUSTFLAGS="$RUSTFLAGS $2" CARGO_TARGET_DIR="$base/profiled/$1" cargo build --locked --profile dist --target "$host" \
        --no-default-features -p llmo-gateway --bin llmo-gateway
}

# train UPSTREAM SETTING…: runs the gateway with counters under load.
train() {
    local upstream=$1 port gateway setting settings=()
    shift
    port=$(free_port)
    for setting in "gateway.port=$port" "gateway.dashboard_port=0" "gateway.upstreams=http://127.0.0.1:$upstream" "$@"; do
        settings+=(--set "$setting")
    done
    "$base/profiled/counted/$host/dist/llmo-gateway" "${settings[@]}" >/dev/null 2>"$work/log" &
    gateway=$!
    pids+=("$gateway")
    for _ in $(seq 100); do
        curl -sf -o /dev/null "http://127.0.0.1:$port/readyz" && break
        kill -0 "$gateway" 2>/dev/null || fail "the gateway with counters did not start" "$(tail -n 1 "$work/log")"
        sleep 0.1
    done
    "$load" saturate "127.0.0.1:$port" --seconds 6 >/dev/null
    "$load" streams "127.0.0.1:$port" --count 200 --tokens 60 >/dev/null
    # Counters are written at its end.
    kill -TERM "$gateway"
    wait "$gateway" || true
}

say "Building the load generator"
cargo build --locked --release --no-default-features -p llmo-gateway -p llmo-benches --bin llmo-gateway --example gateway_load
load=$base/release/examples/gateway_load

say "Building the gateway with counters"
counts=$base/profiled/counts
rm -rf "$counts"
build counted "-Cprofile-generate=$counts"

say "Running it under load"
upstream=$(free_port)
"$load" upstream --port "$upstream" &
pids+=($!)
train "$upstream" cache.backend=off log.level=warn
train "$upstream" log.level=info
compgen -G "$counts/*.profraw" >/dev/null || fail "the gateway with counters left none" "$(tail -n 1 "$work/log")"
"$profdata" merge -o "$base/profiled/gateway.profdata" "$counts"/*.profraw

say "Building the gateway with the profile"
# cargo does not look into the profile: what was built by an older one would stay.
rm -rf "$base/profiled/used"
build used "-Cprofile-use=$base/profiled/gateway.profdata"
mkdir -p "$(dirname "$out")"
cp "$base/profiled/used/$host/dist/llmo-gateway" "$out"
say "Done: %s" "$out ($(du -h "$out" | cut -f1))"
