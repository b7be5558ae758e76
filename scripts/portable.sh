# shellcheck shell=bash
# How programs are built that run on every x86-64 processor: one set of flags for dependencies and for our own crates, so
# that a container's layers, and scripts/build_portable.sh, compile llama.cpp once.

# shellcheck source=scripts/say.sh
. "$(dirname "${BASH_SOURCE[0]}")/say.sh"
# shellcheck source=scripts/toolchain.sh
. "$(dirname "${BASH_SOURCE[0]}")/toolchain.sh"

PORTABLE_FEATURES=${FEATURES:-llmo/dynamic-backends,llmo-server/dynamic-backends,llmo/s3,llmo-server/s3,llmo-server/otlp,llmo-gateway/otlp}
PORTABLE_PACKAGES=(-p llmo -p llmo-server -p llmo-gateway)
PORTABLE_PROFILE=${PROFILE:-release}
# Another target directory than that of local builds: other flags would compile everything anew each time.
PORTABLE_TARGET=${CARGO_TARGET_DIR:-$PWD/target}/portable

portable_environment() {
    choose_toolchain
    local baseline=""
    [ "$(uname -m)" != x86_64 ] || baseline="-C target-cpu=x86-64-v2"
    # Libraries are looked for beside the programs, and in lib/.
    # shellcheck disable=SC2016  # the loader's word, not the shell's
    export RUSTFLAGS="$baseline "'-C link-arg=-Wl,-rpath,$ORIGIN/lib -C link-arg=-Wl,-rpath,$ORIGIN/../lib/llmo'
    export CARGO_TARGET_DIR=$PORTABLE_TARGET
    PORTABLE_JOBS=()
    if [ "${JOBS:-0}" != 0 ]; then
        PORTABLE_JOBS=(--jobs "$JOBS")
        export CMAKE_BUILD_PARALLEL_LEVEL=$JOBS
    fi
}

# portable_dependencies RECIPE: compiles what cargo-chef's recipe names.
portable_dependencies() {
    portable_environment
    cargo chef cook --locked --profile "$PORTABLE_PROFILE" "${PORTABLE_JOBS[@]}" "${PORTABLE_PACKAGES[@]}" \
        --features "$PORTABLE_FEATURES" --recipe-path "$1"
}

# portable_build: compiles the programs.
portable_build() {
    portable_environment
    cargo build --locked --profile "$PORTABLE_PROFILE" "${PORTABLE_JOBS[@]}" "${PORTABLE_PACKAGES[@]}" --features "$PORTABLE_FEATURES"
}
