#!/usr/bin/env bash
# Builds a directory that runs on any x86-64 processor of the last fifteen years (x86-64-v2) and still uses what a newer one
# has: llama.cpp's kernels are libraries, one for each kind of processor, and the best is taken when a program starts.
#
#   scripts/build_portable.sh [DIRECTORY]        (default: dist)
#
# PROFILE=dist makes smaller programs and takes longer. JOBS bounds the compilers that run at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
. scripts/say.sh
. scripts/packages.sh
. scripts/toolchain.sh

out=${1:-dist}
profile=${PROFILE:-release}
ensure_build_packages
choose_toolchain
# Another target directory than that of local builds: other flags would compile everything anew each time.
target=${CARGO_TARGET_DIR:-$ROOT/target}/portable
case $(uname -m) in
    x86_64) baseline="-C target-cpu=x86-64-v2" ;;
    *) baseline="" ;;
esac
# Libraries are looked for beside the programs, and in lib/.
# shellcheck disable=SC2016  # the loader's word, not the shell's
export RUSTFLAGS="$baseline "'-C link-arg=-Wl,-rpath,$ORIGIN/lib -C link-arg=-Wl,-rpath,$ORIGIN/../lib/llmo'

say "Building for every processor (kernels for about ten kinds: this takes twice as long as a local build)"
jobs=()
[ -z "${JOBS:-}" ] || jobs=(--jobs "$JOBS")
[ -z "${JOBS:-}" ] || export CMAKE_BUILD_PARALLEL_LEVEL=$JOBS
CARGO_TARGET_DIR=$target cargo build --locked --profile "$profile" "${jobs[@]}" \
    -p llmo -p llmo-server -p llmo-gateway --features llmo/dynamic-backends,llmo-server/dynamic-backends

# The newest build of llama.cpp in there, if there are several.
native=$(find "$target/$profile/build" -maxdepth 3 -path '*llama-cpp-sys-2-*/out/backends' -printf '%T@ %h\n' | sort -rn | head -n 1 | cut -d' ' -f2-)
[ -n "$native" ] || fail "llama.cpp's libraries are not where its build script puts them" "below $target/$profile/build"
rm -rf "$out"
mkdir -p "$out/lib"
cp "$target/$profile"/{llmo,llmo-server,llmo-gateway} "$out/"
cp -P "$native"/lib*/*.so* "$out/lib/"
cp "$native"/backends/*.so "$out/lib/"

"$out/llmo" doctor --only kernels
say "Done: $out ($(du -sh "$out" | cut -f1))"
