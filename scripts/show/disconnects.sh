#!/usr/bin/env bash
# A thousand clients leave at random moments: every slot upstream is free one step later.
# Expects the programs to be built (./run_microservices.sh build), or LLMO_BIN_DIR to say where they are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python3 disconnects.py "$@"
