#!/usr/bin/env bash
# Ten times as much as can be served, then one tenant at twenty times its share. --seconds 10 for a short look.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 overload.py "$@"
