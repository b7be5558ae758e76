#!/usr/bin/env bash
# Builds llama.cpp's own tools, the peer that benches and identity tests compare with.
#
# The source is the one in PyPI's llama-cpp-python, fetched by pip from whatever index this machine is set up with.
# The build is made as fast as ours: clang 19, native, no OpenMP. The result is kept:
#
#   <target>/peers/llama.cpp/bin/{llama-server,llama-completion,llama-simple,llama-bench,llama-batched-bench,llama-quantize}
#
# Usage: benches/peers/build_llama_cpp.sh [JOBS]     prints the directory of the programs; JOBS is 2 by default
# An hour of one core at most; it runs at the lowest priority. Delete the directory to build again.
set -euo pipefail

version=0.3.36
jobs=${1:-2}
root=$(cd "$(dirname "$0")/../.." && pwd)
peers=${CARGO_TARGET_DIR:-$root/target}/peers
tools=(llama-server llama-completion llama-simple llama-bench llama-batched-bench llama-quantize)
bin=$peers/llama.cpp/bin
stamp=$peers/llama.cpp/built-$version

if [[ -e $stamp ]]; then
    echo "$bin"
    exit 0
fi

for program in clang-19 clang++-19 cmake python3; do
    command -v "$program" >/dev/null || {
        echo "build_llama_cpp.sh: $program is missing: apt-get install clang-19 cmake python3-pip" >&2
        exit 1
    }
done

mkdir -p "$peers"
source_archive=$peers/llama_cpp_python-$version.tar.gz
if [[ ! -e $source_archive ]]; then
    python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$peers" "llama-cpp-python==$version" >&2
fi
tar -xzf "$source_archive" -C "$peers"
source=$peers/llama_cpp_python-$version/vendor/llama.cpp

cmake -S "$source" -B "$peers/llama.cpp" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 \
    -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DGGML_OPENMP=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF >&2
nice -n 19 cmake --build "$peers/llama.cpp" --parallel "$jobs" --target "${tools[@]}" >&2
touch "$stamp"
echo "$bin"
