#!/usr/bin/env bash
# `cargo add llmo-core` must stay cheap: no HTTP stack, no engine, no runtime beyond tokio's synchronisation types.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tree=$(cargo tree --locked -p llmo-core --edges normal --prefix none --format '{p}' | sort -u)
for heavy in hyper axum reqwest http mio rustls candle-core llama-cpp-2 tokenizers redis moka object_store openssl-sys; do
    if grep -q "^$heavy v" <<<"$tree"; then
        echo "error: llmo-core depends on $heavy" >&2
        cargo tree --locked -p llmo-core --edges normal -i "$heavy" >&2
        exit 1
    fi
done
echo "    $(wc -l <<<"$tree") crates, no HTTP stack, no engine"
