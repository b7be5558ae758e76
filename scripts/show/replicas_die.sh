#!/usr/bin/env bash
# Model services die, hang and restart under 200 streams: no client notices. With --real three SmolLM2 services instead of
# simulated ones.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 replicas_die.py "$@"
