# shellcheck shell=bash
# What the tests of containers share, `. docker/testing.sh NAME` in the root directory: a project of its own, so that another stack
# on this machine is not touched; ports, passwords and a directory ($work) of its own; and nothing of it is left behind.
# What was started beside it: `others+=(PID)`.
ROOT=$PWD
export ROOT LLMO_MODE=docker COMPOSE_PROJECT_NAME=${TEST_PROJECT:-llmo-$1} LLMO_IMAGE=${LLMO_IMAGE:-llmo:test} LLMO_LANG=en
SECRETS_DIR=$(mktemp -d)
export SECRETS_DIR
# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh
# shellcheck source=scripts/engine.sh
. scripts/engine.sh
# shellcheck source=scripts/containers.sh
. scripts/containers.sh
# shellcheck source=scripts/passwords.sh
. scripts/passwords.sh
# shellcheck source=scripts/testing.sh
. scripts/testing.sh

take_ports API_PORT HTTPS_PORT DASHBOARD_PORT LLMO_DASHBOARD_PORT PROMETHEUS_PORT ALERTMANAGER_PORT GRAFANA_PORT
work=$(mktemp -d)
others=()

finish() {
    local code=$? pid volume
    if [ $code -ne 0 ]; then FOLLOW=0 ./run_microservices.sh logs 2>/dev/null | tail -n 60 || true; fi
    ./run_microservices.sh stop >/dev/null 2>&1 || true
    for volume in $("$DOCKER" volume ls -q --filter "label=com.docker.compose.project=$PROJECT"); do "$DOCKER" volume rm "$volume" >/dev/null || true; done
    for pid in "${others[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$SECRETS_DIR" "$work"
}
trap finish EXIT

nothing_is_left() { [ -z "$("$DOCKER" ps -aq --filter "label=com.docker.compose.project=$PROJECT")$("$DOCKER" network ls -q --filter "label=com.docker.compose.project=$PROJECT")" ]; }
