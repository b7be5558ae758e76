#!/usr/bin/env bash
# Monitoring for real: the stack, Prometheus, Alertmanager and exporters on free ports; a load; every expression of every
# dashboard; then faults, and the alerts that they have to raise.
#
#   LLMO_BIN_DIR=…     programs to use instead of target/release
#   ENGINE=sim|real    the simulator (the default: quick, no weights), or the installed model on llama.cpp
#
# So that it takes a minute and not ten: Prometheus scrapes each second, and what alerts wait for before they fire (`for:`)
# is cut to 3 s. Expressions and thresholds are the shipped ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT

# shellcheck source=scripts/testing.sh
. scripts/testing.sh
take_ports API_PORT DASHBOARD_PORT MODEL_SERVICE_PORT CACHE_SERVICE_PORT STORAGE_SERVICE_PORT REDIS_PORT HOOK_PORT
take_ports PROMETHEUS_PORT ALERTMANAGER_PORT NODE_EXPORTER_PORT REDIS_EXPORTER_PORT
LLMO_RUN_DIR=$(mktemp -d)
REDIS_URL=redis://127.0.0.1:$REDIS_PORT/0 LLMO_CACHE__SERVICE_BACKEND=tiered
ALERT_WEBHOOK_URL=http://127.0.0.1:$HOOK_PORT/
export LLMO_RUN_DIR REDIS_URL LLMO_CACHE__SERVICE_BACKEND ALERT_WEBHOOK_URL

without=(--without containers)
if [ "${ENGINE:-sim}" = sim ]; then
    export LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim LLMO_STORE__DIR=$LLMO_RUN_DIR/store
    mkdir -p "$LLMO_STORE__DIR"
    without+=(--without engines)
fi

# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh
# shellcheck source=scripts/monitoring.sh
. scripts/monitoring.sh

others=()
finish() {
    local pid
    stop_monitoring
    stop_stack
    for pid in "${others[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ "$failed" -gt 0 ]; then
        for log in "$LLMO_RUN_DIR"/*.log; do echo "--- $log"; tail -n 15 "$log"; done
    fi
    rm -rf "$LLMO_RUN_DIR"
}
trap finish EXIT

ensure_packages "test" "redis-server=redis-server"
ensure_monitoring_packages

say "Files"
verdict "configuration, rules, their unit tests, dashboards, runbook" python3 tests/monitoring/files.py

say "Starting the stack and what watches it"
redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --appendonly no >"$LLMO_RUN_DIR/redis.log" 2>&1 &
others+=($!)
python3 tests/monitoring/hook.py "$HOOK_PORT" >"$LLMO_RUN_DIR/hook.log" 2>&1 &
others+=($!)
for name in "${SERVICES[@]}"; do start_service "$name"; done
wait_ready
start_monitoring
prometheus=http://127.0.0.1:$PROMETHEUS_PORT alertmanager=http://127.0.0.1:$ALERTMANAGER_PORT

say "Who may ask"
status_of() { curl -s -m 5 -o /dev/null -w '%{http_code}' "$@"; }
refuses() { [ "$(status_of "$1")$(status_of -u admin:admin "$1")$(status_of -u "admin:$(cat "$2")" "$1")" = 401401200 ]; }
# Each has a password of its own: the other's does not open it.
refuses_the_other() { [ "$(status_of -u "admin:$(cat "$MONITORING_SECRETS/alertmanager_password")" "$prometheus/api/v1/query?query=up")" = 401 ]; }
closed_to_others() { [ "$(stat -c %a "$MONITORING_SECRETS")" = 700 ]; }
no_argument() { ! grep -lF -f <(cat "$MONITORING_SECRETS"/*_password) /proc/[0-9]*/cmdline 2>/dev/null | grep . >&2; }
verdict "Prometheus wants its password" refuses "$prometheus/api/v1/query?query=up" "$MONITORING_SECRETS/prometheus_password"
verdict "Alertmanager wants its password" refuses "$alertmanager/api/v2/alerts" "$MONITORING_SECRETS/alertmanager_password"
verdict "neither opens with the other's" refuses_the_other
verdict "the passwords are closed to other users" closed_to_others
verdict "and are no program's argument" no_argument
start_monitoring >/dev/null
verdict "a second start keeps them" refuses "$prometheus/api/v1/query?query=up" "$MONITORING_SECRETS/prometheus_password"
changed() {
    echo "one of my own: \\ \" ' é" >"$MONITORING_SECRETS/alertmanager_password"
    start_monitoring >/dev/null
    refuses "$alertmanager/api/v2/alerts" "$MONITORING_SECRETS/alertmanager_password"
}
verdict "and takes one that was changed" changed

# In this run's copies only.
sed -i -E 's/(scrape_interval|evaluation_interval|refresh_interval): .*/\1: 1s/; s/scrape_timeout: .*/scrape_timeout: 1s/' \
    "$MONITORING_DIR/prometheus/prometheus.yml"
sed -i -E 's/^( +)for: .*/\1for: 3s/' "$MONITORING_DIR/prometheus/rules/alerts.yml"
kill -HUP "$(cat "$RUN_DIR/prometheus.pid")"

say "Load, and everything that the dashboards ask for"
verdict "every target is up, every expression returns data, every exposition is clean" \
    python3 tests/monitoring/live.py "http://127.0.0.1:$API_PORT" "$prometheus" "$MONITORING_SECRETS/prometheus_password" 20 "${without[@]}"
# How full this machine's disk is, is no matter of this test.
quiet() { [ "$(amtool -o json --http.config.file="$MONITORING_SECRETS/alertmanager_login.yml" --alertmanager.url="$alertmanager" alert query 'alertname!="DiskWillFill"')" = '[]' ]; }
verdict "no alert without a fault" quiet

# The supervisor is held, or it would start the service again before anybody notices.
down() { kill -STOP "$(cat "$RUN_DIR/$1.supervisor.pid")"; kill -KILL "$(cat "$RUN_DIR/$1.pid")"; }
back() { kill -CONT "$(cat "$RUN_DIR/$1.supervisor.pid")"; }
fires() { python3 tests/monitoring/alert.py "$alertmanager" "$MONITORING_SECRETS/alertmanager_password" 40 "$@"; }
ends() { python3 tests/monitoring/alert.py "$alertmanager" "$MONITORING_SECRETS/alertmanager_password" 60 --gone "$@"; }

say "Fault: the storage service is killed"
down storage-service
verdict "ServiceDown" fires ServiceDown job=storage-service
back storage-service
verdict "it ends when the service is back" ends ServiceDown job=storage-service

say "Fault: the only model service is killed"
down model-service
verdict "NoHealthyReplica" fires NoHealthyReplica "instance=127.0.0.1:$DASHBOARD_PORT"
told() { grep -q "^firing $1 docs/runbook/$1.md" "$LLMO_RUN_DIR/hook.log"; }
verdict "the webhook is told, with the page of the runbook" within 30 told NoHealthyReplica
back model-service
verdict "it ends when there is one again" ends NoHealthyReplica

say "Fault: the cache service hangs"
kill -STOP "$(cat "$RUN_DIR/cache-service.pid")"
verdict "CacheDown" fires CacheDown
kill -CONT "$(cat "$RUN_DIR/cache-service.pid")"

say "Fault: a rule is broken and Prometheus told to read it"
echo 'groups: [{name: broken, rules: [{alert: X, expr: "1 +"}]}]' >"$MONITORING_DIR/prometheus/rules/broken.yml"
kill -HUP "$(cat "$RUN_DIR/prometheus.pid")"
verdict "ConfigReloadFailed" fires ConfigReloadFailed job=prometheus
rm "$MONITORING_DIR/prometheus/rules/broken.yml"
kill -HUP "$(cat "$RUN_DIR/prometheus.pid")"
verdict "it ends with a good configuration" ends ConfigReloadFailed

say "Stop"
stop_monitoring
verdict "nothing of it runs" [ -z "$(running_monitors)" ]

verdicts monitoring
