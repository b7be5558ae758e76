# shellcheck shell=bash
# Passwords made by chance, and kept: files in $SECRETS_TO, which is closed to other users of this machine.

chance() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# keep FILE TEXT: unless it is there.
keep() { [ -s "$SECRETS_TO/$1" ] || printf '%s\n' "$2" >"$SECRETS_TO/$1"; }

# monitoring_logins: of Prometheus and of Alertmanager, each of whom has
#   NAME_password    what a person types; the user is admin
#   NAME_web.yml     what the server is told (--web.config.file): a hash of it
#   NAME_login.yml   what asks it is told (amtool, promtool --http.config.file)
# A password that was changed by hand holds from the next start on: the other two are made from it again.
monitoring_logins() {
    local name password made_of hash
    for name in prometheus alertmanager; do
        keep "${name}_password" "$(chance)"
        password=$(cat "$SECRETS_TO/${name}_password")
        made_of="basic_auth: {username: admin, password: '${password//\'/\'\'}'}"
        [ "$(cat "$SECRETS_TO/${name}_login.yml" 2>/dev/null)" != "$made_of" ] || [ ! -s "$SECRETS_TO/${name}_web.yml" ] || continue
        hash=$(python3 "$PASSWORDS_FROM/bcrypt.py" <<<"$password") || return 1
        # The file stays the same one: it may be mounted.
        printf 'basic_auth_users: {admin: "%s"}\n' "$hash" >"$SECRETS_TO/${name}_web.yml"
        printf '%s\n' "$made_of" >"$SECRETS_TO/${name}_login.yml"
    done
}

# as_admin PASSWORD_FILE CURL_OPTION…: the password is no argument, which every process could read.
as_admin() {
    local password
    password=$(sed 's/[\\"]/\\&/g' "$1")
    shift
    curl -K <(printf 'user = "admin:%s"\n' "$password") "$@"
}

PASSWORDS_FROM=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
