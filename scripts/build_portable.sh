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
# shellcheck source=scripts/portable.sh
. scripts/portable.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

out=${1:-dist}
ensure_compilers
say "Building for every processor (kernels for about ten kinds: this takes twice as long as a local build)"
portable_build
built=$PORTABLE_TARGET/$PORTABLE_PROFILE

# The newest build of llama.cpp in there, if there are several.
native=$(find "$built/build" -maxdepth 3 -path '*llama-cpp-sys-2-*/out/backends' -printf '%T@ %h\n' | sort -rn | head -n 1 | cut -d' ' -f2-)
[ -n "$native" ] || fail "llama.cpp's libraries are not where its build script puts them" "below $built/build"
rm -rf "$out"
mkdir -p "$out/lib"
cp "$built"/{llmo,llmo-server,llmo-gateway} "$out/"
cp -P "$native"/lib*/*.so* "$out/lib/"
cp "$native"/backends/*.so "$out/lib/"

"$out/llmo" doctor --only kernels
say "Done: %s" "$out ($(du -sh "$out" | cut -f1))"
