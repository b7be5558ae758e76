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
        [ -n "${CC:-}" ] || without_clang
    fi
    export RUSTFLAGS="${RUSTFLAGS:--C target-cpu=native}"
}

# The system's compiler: AMX is left out, since gcc 12's kernels die, and users would see a crash instead of a slow model.
without_clang() {
    local no_amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    note "no clang 17 or newer: llama.cpp is built by the system's compiler, without AMX, and may be several times slower"
    # shellcheck disable=SC2086  # three options
    if cc $no_amx -fsyntax-only -x c /dev/null >/dev/null 2>&1; then
        export CFLAGS="${CFLAGS:-} $no_amx" CXXFLAGS="${CXXFLAGS:-} $no_amx"
    fi
}
