#!/usr/bin/env bash
# The profiles monitoring and s3 as real containers: Prometheus in its container scrapes every service, two model services
# among them; Alertmanager hears of a fault; the storage service keeps its objects in a bucket.
#
#   docker/test_profiles.sh        (after ./run_microservices.sh test --docker, which makes the image)
#
#   LLMO_MODEL__ENGINE=sim LLMO_MODEL__NAMES=sim    the simulator in place of the real model: quick, on a busy machine
#
# Where no image registry can be reached, images are made of packages (docker/base.sh), and Grafana and cAdvisor are left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=docker/testing.sh
. docker/testing.sh profiles

HOOK_PORT=$(free_port)
# As the container of Alertmanager sees this machine.
export ALERT_WEBHOOK_URL=http://host.docker.internal:$HOOK_PORT/
api=http://127.0.0.1:$API_PORT

ensure_engine
say "Start, with the profiles traefik, monitoring and s3"
python3 tests/monitoring/hook.py "$HOOK_PORT" 0.0.0.0 >"$work/hook.log" 2>&1 &
others+=($!)
./run_microservices.sh run --traefik --monitoring --s3 | sed 's/^/    /'
./run_microservices.sh scale model-service=2 | sed 's/^/    /'
./run_microservices.sh status | sed 's/^/    /'

say "Monitoring"
# jobs_up JOB=NUMBER…: are so many targets of each up?
jobs_up() {
    python3 - "http://127.0.0.1:$PROMETHEUS_PORT" "$SECRETS/prometheus_password" "$@" <<'PYTHON'
import collections, sys
sys.path.insert(0, "tests/monitoring")
from prometheus import Prometheus
try:
    up = collections.Counter(t["labels"]["job"] for t in Prometheus(*sys.argv[1:3]).targets() if t["health"] == "up")
except OSError:
    sys.exit(1)
sys.exit(any(up[job] < int(number) for job, number in (word.split("=") for word in sys.argv[3:])))
PYTHON
}
wanted=(gateway=1 model-service=2 cache-service=1 storage-service=1 traefik=1 redis=1 node=1 prometheus=1 alertmanager=1)
verdict "Prometheus in its container scrapes every service: ${wanted[*]}" within 90 jobs_up "${wanted[@]}"
python3 docker/load.py "$api" steady 10 4 | sed 's/^/    load: /'
has_samples() { # has_samples EXPRESSION…
    python3 - "http://127.0.0.1:$PROMETHEUS_PORT" "$SECRETS/prometheus_password" "$@" <<'PYTHON'
import sys
sys.path.insert(0, "tests/monitoring")
from prometheus import Prometheus
prometheus = Prometheus(*sys.argv[1:3])
sys.exit(any(not prometheus.query(expression) for expression in sys.argv[3:]))
PYTHON
}
verdict "and has their figures" within 30 has_samples 'gen_ai_client_operation_duration_seconds_count > 0' \
    'count(llmo_slots{job="model-service"}) by (instance) > 0' 'redis_memory_used_bytes' 'node_memory_MemTotal_bytes' \
    'traefik_service_requests_total' 'llmo_backend_up == 1'
rules_are_loaded() { [ "$(as_admin "$SECRETS/prometheus_password" -s "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/rules?type=alert" | python3 -c 'import json, sys
print(sum(len(group["rules"]) for group in json.load(sys.stdin)["data"]["groups"]))')" -ge 10 ]; }
verdict "the alerts are loaded" rules_are_loaded
status_of() { curl -s -m 5 -o /dev/null -w '%{http_code}' "$@"; }
# refuses URL PASSWORD_FILE: without a password, with a usual one; opens with its own.
refuses() { [ "$(status_of "$1")$(status_of -u admin:admin "$1")$(as_admin "$2" -s -m 5 -o /dev/null -w '%{http_code}' "$1")" = 401401200 ]; }
verdict "Prometheus wants its password" refuses "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query?query=up" "$SECRETS/prometheus_password"
verdict "Alertmanager wants its password" refuses "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts" "$SECRETS/alertmanager_password"
no_password_is_shown() {
    running_ids | xargs "$DOCKER" inspect >"$work/inspect.json" && ! has -F -f <(cat "$SECRETS"/*_password) "$work/inspect.json"
}
verdict "no password is an argument or a variable of a container" no_password_is_shown
"$DOCKER" stop --time 1 "$(replicas_of cache-service)" >/dev/null
hears() { as_admin "$SECRETS/alertmanager_password" -s "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts?active=true" | grep -q "\"alertname\":\"$1\""; }
verdict "Alertmanager in its container hears that the cache service is down" within 180 hears ServiceDown
told() { grep -q '^firing ServiceDown' "$work/hook.log"; }
verdict "and tells ALERT_WEBHOOK_URL" within 60 told
compose up -d --no-recreate cache-service >/dev/null 2>&1

ports_are_looked_at() {
    ./run_microservices.sh doctor --json --only ports >"$work/ports.json" || return 1
    for port in "$API_PORT" "$DASHBOARD_PORT" "$LLMO_DASHBOARD_PORT" "$PROMETHEUS_PORT" "$ALERTMANAGER_PORT"; do
        grep "port $port for .* is used by this stack" "$work/ports.json" >/dev/null || return 1
    done
}
verdict "doctor knows every port as the stack's own" ports_are_looked_at
verdict "update of any service makes a new container" ./run_microservices.sh update prometheus
verdict "test --smoke asks Prometheus, too" eval './run_microservices.sh test --smoke | sed "s/^/    /"'

say "S3"
# From within the network that leads nowhere: objects through the storage service, and what is in the bucket.
s3_image=$(container_setting S3_IMAGE '')
in_data() { "$DOCKER" run --rm --network "${PROJECT}_data" -v "$SECRETS:/run/secrets:ro" --user 0 --entrypoint python3 "$s3_image" -c "$1"; }
goes_through() {
    in_data '
import hashlib, urllib.request
data = bytes(range(256)) * 81920
url = "http://storage-service:8083/v1/objects/try/weights.bin"
head = {"x-sha256": hashlib.sha256(data).hexdigest()}
urllib.request.urlopen(urllib.request.Request(url, data, head, method="PUT")).read()
answer = urllib.request.urlopen(urllib.request.Request(url, headers={"range": "bytes=1000-1999"}))
assert answer.status == 206 and answer.read() == data[1000:2000]
assert urllib.request.urlopen(url).read() == data'
}
is_in_the_bucket() {
    in_data '
import boto3
secret = lambda name: open("/run/secrets/" + name).read().strip()
s3 = boto3.client("s3", endpoint_url="http://s3:9000", region_name="us-east-1",
                  aws_access_key_id=secret("s3_user"), aws_secret_access_key=secret("s3_password"))
found = {each["Key"]: each["Size"] for each in s3.list_objects_v2(Bucket="llmo")["Contents"]}
assert found["try/weights.bin"] == 256 * 81920, found'
}
if [ -n "$s3_image" ]; then
    verdict "20 MB go through the storage service and come back, whole and in part" goes_through
    verdict "they are in the bucket" is_in_the_bucket
else
    echo "    left out: MinIO's image has no Python to ask with"
fi

say "Stop"
./run_microservices.sh stop | sed 's/^/    /'
verdict "no container and no network is left" nothing_is_left
verdicts profiles
