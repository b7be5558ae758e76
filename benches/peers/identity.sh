#!/usr/bin/env bash
# Is the greedy output of our llama.cpp backend that of llama.cpp's own server, token for token?
#
# Builds llama-server if need be, asks it 20 prompts, writes prompts, tokens of prompts and tokens of answers to the
# golden file that the tests of llmo-backends compare with, and runs that comparison.
#
# Usage: benches/peers/identity.sh [MODEL.gguf]     default: models/smollm2-135m/model.gguf
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
model=${1:-$root/models/smollm2-135m/model.gguf}
golden=$root/llmo-backends/tests/golden/llama_cpp_greedy.json

bin=$("$root/benches/peers/build_llama_cpp.sh")
python3 "$root/benches/peers/golden.py" "$bin/llama-server" "$model" "$golden"
cd "$root"
cargo test --release -p llmo-backends --test llama_cpp golden -- --nocapture
