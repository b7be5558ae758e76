# shellcheck shell=bash
# Prometheus, Alertmanager and exporters as local processes, with the files of monitoring/ that containers have too.
# Expects say.sh, packages.sh and stack.sh (and is used by status_stack there). All of it listens on 127.0.0.1 only, under scripts/supervise.sh.
#
# run/monitoring/prometheus/    the configuration as used: rules copied, targets written for this machine's ports
# run/monitoring/data/          what was collected; survives a stop
# run/monitoring/secrets/       passwords of Prometheus and Alertmanager (scripts/passwords.sh); closed to other users

# shellcheck source=scripts/passwords.sh
. "$ROOT/scripts/passwords.sh"

MONITORS=(prometheus alertmanager node-exporter redis-exporter)
MONITORING_DIR=$RUN_DIR/monitoring
MONITORING_SECRETS=$(realpath -m "$MONITORING_DIR/secrets")

# from_env VARIABLE DEFAULT: as in the environment, else as in .env, else the default.
from_env() {
    local value=${!1:-}
    if [ -z "$value" ] && [ -r "$ROOT/.env" ]; then
        value=$(sed -nE "s/^(export +)?$1=//p" "$ROOT/.env" | tail -n 1 | sed -E "s/^(['\"])(.*)\1\$/\2/")
    fi
    printf '%s' "${value:-$2}"
}
PROMETHEUS_PORT=$(from_env PROMETHEUS_PORT 9090)
ALERTMANAGER_PORT=$(from_env ALERTMANAGER_PORT 9093)
NODE_EXPORTER_PORT=$(from_env NODE_EXPORTER_PORT 9100)
REDIS_EXPORTER_PORT=$(from_env REDIS_EXPORTER_PORT 9121)
ALERT_WEBHOOK_URL=$(from_env ALERT_WEBHOOK_URL "")

# Debian starts what it installs as services of the whole system, on the same ports: those that came only now are switched
# off again.
ensure_monitoring_packages() {
    local name units=()
    local entries=("prometheus=prometheus" "prometheus-alertmanager=prometheus-alertmanager"
        "prometheus-node-exporter=prometheus-node-exporter")
    ! uses_redis || entries+=("prometheus-redis-exporter=prometheus-redis-exporter")
    for name in "${entries[@]}"; do
        command -v "${name%%=*}" >/dev/null 2>&1 || units+=("${name%%=*}")
    done
    ensure_packages "monitor" "${entries[@]}"
    if [ ${#units[@]} -gt 0 ] && [ -d /run/systemd/system ]; then
        local as_root=()
        [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
        "${as_root[@]}" systemctl disable --now --quiet "${units[@]}" || true
    fi
}

uses_redis() { [[ $(setting cache.service_backend) =~ redis|tiered ]]; }

# monitoring_files [mono]: writes the configuration of this machine.
monitoring_files() {
    local to=$MONITORING_DIR/prometheus
    mkdir -p "$to/targets" "$MONITORING_DIR/data" "$MONITORING_DIR/alertmanager"
    (umask 077; mkdir -p "$MONITORING_SECRETS"; SECRETS_TO=$MONITORING_SECRETS; monitoring_logins) || fail "the passwords of Prometheus and Alertmanager could not be made" "see above"
    rm -rf "$to/rules"
    cp -r "$ROOT/monitoring/prometheus/rules" "$to/"
    # Names of containers mean nothing here, and passwords are elsewhere.
    sed -e '/# >>> containers/,/# <<< containers/d' -e "s|/run/secrets/|$MONITORING_SECRETS/|" \
        "$ROOT/monitoring/prometheus/prometheus.yml" >"$to/prometheus.yml"
    monitoring_targets "${1:-}"
    printf -- '- targets: ["127.0.0.1:%s"]\n' "$PROMETHEUS_PORT" >"$to/targets/prometheus.yml"
    printf -- '- targets: ["127.0.0.1:%s"]\n' "$ALERTMANAGER_PORT" >"$to/targets/alertmanager.yml"

    alertmanager_config >"$MONITORING_DIR/alertmanager/alertmanager.yml"

    local said
    said=$(promtool check config "$to/prometheus.yml" 2>&1) || fail "Prometheus refuses its configuration" "$said"
    said=$(amtool check-config "$MONITORING_DIR/alertmanager/alertmanager.yml" 2>&1) ||
        fail "Alertmanager refuses its configuration" "$said"
}

# Alertmanager's configuration, with ALERT_WEBHOOK_URL as its receiver if that is set.
alertmanager_config() {
    local receiver=()
    if [ -n "${ALERT_WEBHOOK_URL:-}" ]; then
        case $ALERT_WEBHOOK_URL in
            *['"\|&']* | [!h]*) fail "$(t 'ALERT_WEBHOOK_URL is no URL that can be used: %s' "$ALERT_WEBHOOK_URL")" \
                "it begins with http:// or https://, and has none of \" \\ | & in it" ;;
        esac
        receiver=(-e "s|# webhook_configs: .*|webhook_configs: [{ url: \"$ALERT_WEBHOOK_URL\" }]|")
    fi
    sed -e '' "${receiver[@]}" "$ROOT/monitoring/alertmanager/alertmanager.yml"
}

# monitoring_targets [mono]: whom Prometheus asks; it sees the change by itself.
monitoring_targets() {
    local to=$MONITORING_DIR/prometheus/targets/services.yml gateway name
    gateway=$(setting gateway.dashboard_port)
    [ "$gateway" != 0 ] || gateway=$(setting gateway.port)
    {
        monitoring_target gateway "$gateway"
        if [ "${1:-}" != mono ]; then
            for name in model-service $(more_model_services); do
                monitoring_target model-service "$(cat "$RUN_DIR/$name.port" 2>/dev/null || setting model.port)"
            done
            monitoring_target cache-service "$(setting cache.port)"
            monitoring_target storage-service "$(setting store.port)"
        fi
        monitoring_target node "$NODE_EXPORTER_PORT"
        ! uses_redis || monitoring_target redis "$REDIS_EXPORTER_PORT"
    } >"$to.new"
    mv "$to.new" "$to"
}

# After `scale`: the model services that there are now.
scaled_monitoring() {
    if alive "$RUN_DIR/prometheus.supervisor.pid"; then monitoring_targets; fi
}

monitoring_target() { printf -- '- labels: { job: %s }\n  targets: ["127.0.0.1:%s"]\n' "$1" "$2"; }

monitor_command() {
    case $1 in
        prometheus)
            COMMAND=(prometheus --config.file="$MONITORING_DIR/prometheus/prometheus.yml"
                --storage.tsdb.path="$MONITORING_DIR/data/prometheus" --storage.tsdb.retention.time=15d
                --storage.tsdb.retention.size=2GB --rules.alert.resend-delay=15s
                --web.config.file="$MONITORING_SECRETS/prometheus_web.yml"
                --web.listen-address="127.0.0.1:$PROMETHEUS_PORT" --log.level=warn) ;;
        alertmanager)
            COMMAND=(prometheus-alertmanager --config.file="$MONITORING_DIR/alertmanager/alertmanager.yml"
                --storage.path="$MONITORING_DIR/data/alertmanager" --web.listen-address="127.0.0.1:$ALERTMANAGER_PORT"
                --web.config.file="$MONITORING_SECRETS/alertmanager_web.yml" --cluster.listen-address= --log.level=warn) ;;
        node-exporter)
            COMMAND=(prometheus-node-exporter --web.listen-address="127.0.0.1:$NODE_EXPORTER_PORT" --log.level=warn
                --no-collector.systemd) ;;
        redis-exporter)
            # It may hold a password: not among the arguments, which every process can read.
            REDIS_ADDR=$(setting cache.redis_url)
            export REDIS_ADDR
            COMMAND=(prometheus-redis-exporter --web.listen-address="127.0.0.1:$REDIS_EXPORTER_PORT") ;;
    esac
}

monitor_port() {
    case $1 in
        prometheus) echo "$PROMETHEUS_PORT" ;;
        alertmanager) echo "$ALERTMANAGER_PORT" ;;
        node-exporter) echo "$NODE_EXPORTER_PORT" ;;
        redis-exporter) echo "$REDIS_EXPORTER_PORT" ;;
    esac
}

# start_monitoring [mono]
start_monitoring() {
    local name variable COMMAND wanted=(prometheus alertmanager node-exporter)
    ensure_monitoring_packages
    ! uses_redis || wanted+=(redis-exporter)
    mkdir -p "$RUN_DIR"
    monitoring_files "${1:-}"
    for name in "${wanted[@]}"; do
        if alive "$RUN_DIR/$name.supervisor.pid"; then
            # It reads what was just written; exporters have nothing to read.
            case $name in prometheus | alertmanager) kill -HUP "$(cat "$RUN_DIR/$name.pid")" ;; esac
            continue
        fi
        monitor_command "$name"
        variable=$(tr 'a-z-' 'A-Z_' <<<"$name")_PORT
        if port_answers "$(monitor_port "$name")"; then
            fail "$(t 'port %s for %s is taken' "$(monitor_port "$name")" "$name")" \
                "$(t 'choose another: %s=PORT ./run_microservices.sh run --monitoring' "$variable")" \
                "$(t "or, if it is Debian's own service: sudo systemctl disable --now %s" "${COMMAND[0]}")"
        fi
        detach "$RUN_DIR/$name.log" "$ROOT/scripts/supervise.sh" "$RUN_DIR" "$name" "${COMMAND[@]}"
        echo $! >"$RUN_DIR/$name.supervisor.pid"
    done
    local limit=$((SECONDS + 30))
    until as_admin "$MONITORING_SECRETS/prometheus_password" -sf -m 2 "http://127.0.0.1:$PROMETHEUS_PORT/-/ready" >/dev/null 2>&1 &&
        as_admin "$MONITORING_SECRETS/alertmanager_password" -sf -m 2 "http://127.0.0.1:$ALERTMANAGER_PORT/-/ready" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || fail "Prometheus or Alertmanager is not ready after 30 s" \
            "$(t 'look at %s and %s' "$RUN_DIR/prometheus.log" "$RUN_DIR/alertmanager.log")"
        sleep 0.2
    done
    print_monitors "$PROMETHEUS_PORT" "$ALERTMANAGER_PORT" "$MONITORING_SECRETS"
}

print_monitors() { # PROMETHEUS_PORT ALERTMANAGER_PORT SECRETS
    printf '    Prometheus    http://localhost:%s   (admin, %s)\n' "$1" "$3/prometheus_password"
    printf '    Alertmanager  http://localhost:%s   (admin, %s)\n' "$2" "$3/alertmanager_password"
}

running_monitors() {
    local name
    for name in "${MONITORS[@]}"; do
        alive "$RUN_DIR/$name.supervisor.pid" && printf '%s\n' "$name"
    done
    return 0
}

stop_monitoring() {
    local name stopped=()
    for name in "${MONITORS[@]}"; do
        alive "$RUN_DIR/$name.supervisor.pid" || continue
        stop_service "$name"
        stopped+=("$name")
    done
    [ ${#stopped[@]} -eq 0 ] || say "Stopped %s" "${stopped[*]}"
}

clean_monitoring() {
    stop_monitoring
    rm -rf "${MONITORING_DIR:?}"
}
