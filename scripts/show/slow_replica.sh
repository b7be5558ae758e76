#!/usr/bin/env bash
# One of three replicas is half a second late: with every policy it is left out, and p99 stays within 1.5 times of what it was.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 slow_replica.py "$@"
