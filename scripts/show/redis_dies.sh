#!/usr/bin/env bash
# Redis is killed under load: requests go on, limits degrade to local ones, a counter tells.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 redis_dies.py "$@"
