# shellcheck shell=bash
# Chooses a compiler with which llama.cpp is fast, and one set of flags for everything, so that nothing is built twice.
#
# gcc 12 builds AMX kernels that die with SIGILL, clang 14 silently leaves them out; clang 19 is right. llama.cpp uses
# this machine's own instructions only if Rust is told to as well (target-cpu=native).

choose_toolchain() {
    local version
    if [ -z "${CC:-}" ]; then
        for version in 19 20 21 18 17; do
            if command -v "clang-$version" >/dev/null 2>&1 && command -v "clang++-$version" >/dev/null 2>&1; then
                export CC="clang-$version" CXX="clang++-$version"
                break
            fi
        done
        [ -n "${CC:-}" ] || note "no clang 17 or newer: llama.cpp is built by the system's compiler and will be slower"
    fi
    export RUSTFLAGS="${RUSTFLAGS:--C target-cpu=native}"
}
