#!/usr/bin/env bash
# Readers of a byte a second and endless headers (slowloris): memory is bounded, honest clients are not harmed.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 slow_clients.py "$@"
