#!/usr/bin/env bash
# What scripts start in the background keeps no file of theirs open: services, what watches them, and the container engine.
# Stand-ins take their places; no engine and no build is needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
export ROOT LLMO_RUN_DIR
work=$(mktemp -d)
LLMO_RUN_DIR=$work/run
mkdir -p "$LLMO_RUN_DIR" "$work/bin"

# shellcheck source=scripts/say.sh
. scripts/say.sh
# shellcheck source=scripts/stack.sh
. scripts/stack.sh
# shellcheck source=scripts/engine.sh
. scripts/engine.sh

started=()
finish() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
# shellcheck source=scripts/testing.sh
. scripts/testing.sh

# As run_microservices.sh has it (9), as flock(1) hands its own on (3), and one beyond what bash's redirections have by name.
exec 9>"$work/turn" 3>"$work/wrapper" 42>"$work/far"
flock -n 9
flock -n 3
flock -n 42

# The programs' own places: a service behind its supervisor, and dockerd as launch_engine starts it.
service_command() { COMMAND=(sleep 300); }
start_service quiet
started+=("$(cat "$RUN_DIR/quiet.supervisor.pid")")
within 10 [ -s "$RUN_DIR/quiet.pid" ] || fail "the supervisor starts nothing"
started+=("$(cat "$RUN_DIR/quiet.pid")")

printf '#!/bin/sh\necho $$ >"%s/dockerd.pid"\nexec sleep 300\n' "$work" >"$work/bin/dockerd"
chmod +x "$work/bin/dockerd"
engine_answers() { [ -s "$work/dockerd.pid" ]; }
PATH=$work/bin:$PATH launch_engine "$work"
started+=("$(cat "$work/dockerd.pid")")

# Of what this test holds open: bash's own descriptors are closed by exec.
keeps_nothing() { ! find "/proc/$1/fd" -lname "$work/turn" -o -lname "$work/wrapper" -o -lname "$work/far" | grep . >&2; }
verdict "a supervisor keeps no file of its caller" keeps_nothing "${started[0]}"
verdict "nor does its service" keeps_nothing "${started[1]}"
verdict "nor does the container engine" keeps_nothing "${started[2]}"
exec 9>&- 3>&- 42>&-
is_free() { flock -n "$1" true; }
for lock in turn wrapper far; do verdict "the lock '$lock' is free when its holder ends" is_free "$work/$lock"; done
verdicts "started in the background"
