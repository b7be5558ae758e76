#!/usr/bin/env bash
# Every variable of the compose files is in .env.example, with its default; that those of llmo's configuration are is a test of
# llmo-config (tests/env_example.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
missing=0
# Compose's own, and what run_microservices.sh works out.
ours='^(LLMO_ENV_FILE|ALERTMANAGER_CONFIG|S3_USER_FILE|S3_PASSWORD_FILE)$'
while read -r name; do
    grep -qE "^#?$name=" .env.example || { echo "error: $name of docker/compose*.yaml is not in .env.example" >&2; missing=1; }
done < <(grep -ohE '\$\{[A-Z0-9_]+' docker/compose*.yaml | cut -c3- | sort -u | grep -vE "$ours")
[ $missing -eq 0 ] || exit 1
echo "    .env.example has every variable of the compose files"
