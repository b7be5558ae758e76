#!/usr/bin/env bash
# Passwords for the containers, as files: made once, by chance, and kept. docker/secrets.sh [DIRECTORY]
#
# The directory is closed to other users of this machine; the files in it are open, because each is mounted into a container
# whose user is another one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
dir=${1:-${SECRETS_DIR:-secrets}}

# shellcheck source=scripts/passwords.sh
. ../scripts/passwords.sh

umask 077
mkdir -p "$dir"
chmod 700 "$dir"
SECRETS_TO=$dir

keep redis_password "$(chance)"
redis=$(cat "$dir/redis_password")
keep redis_url "redis://:$redis@redis:6379/0"
keep redis_passwords.json "{\"redis://redis:6379\": \"$redis\"}"
keep redis.conf "bind * -::*
port 6379
requirepass $redis
save \"\"
appendonly no
dir /data
maxmemory 256mb
maxmemory-policy allkeys-lru"
keep dashboard_password "$(chance)"
# SHA-1 with a salt of its own (apr1 needs openssl); the password has 192 bits of chance, so nobody finds it by trying.
keep dashboard_users "admin:$(dashboard=$(cat "$dir/dashboard_password") python3 -c '
import base64, hashlib, os
print("{SHA}" + base64.b64encode(hashlib.sha1(os.environ["dashboard"].encode()).digest()).decode())')"
keep grafana_password "$(chance)"
monitoring_logins
keep s3_user llmo
keep s3_password "$(chance)"
find "$dir" -maxdepth 1 -type f -exec chmod 644 {} +
