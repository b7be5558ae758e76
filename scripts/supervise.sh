#!/usr/bin/env bash
# supervise.sh RUN_DIR NAME COMMAND…: keeps one service running. A service that dies is started again, at once the first
# time, then after a growing wait (at most 10 s); a minute without a death resets the wait. TERM ends both for good.
set -u
run_dir=$1 name=$2
shift 2

child='' stopping=0 failures=0 restarts=0

stop() {
    stopping=1
    [ -n "$child" ] && kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

line() { printf '%s supervisor: %s\n' "$(date -u +%FT%TZ)" "$*"; }

echo 0 >"$run_dir/$name.restarts"
while [ $stopping -eq 0 ]; do
    started=$SECONDS
    "$@" &
    child=$!
    echo "$child" >"$run_dir/$name.pid"
    while :; do
        wait "$child"
        code=$?
        # `wait` also returns when a signal was handled: go on until the child is gone.
        kill -0 "$child" 2>/dev/null || break
    done
    rm -f "$run_dir/$name.pid"
    [ $stopping -eq 1 ] && break
    [ $((SECONDS - started)) -ge 60 ] && failures=0
    restarts=$((restarts + 1))
    echo "$restarts" >"$run_dir/$name.restarts"
    # 0, 0.2, 0.4, 0.8 … s; bash evaluates both sides of ?:, so no power of a negative number here.
    wait_tenths=0
    [ $failures -gt 0 ] && wait_tenths=$((failures >= 6 ? 100 : 2 ** failures))
    failures=$((failures + 1))
    line "$name ended with $code; start number $((restarts + 1)) in $((wait_tenths / 10)).$((wait_tenths % 10)) s"
    sleep "$((wait_tenths / 10)).$((wait_tenths % 10))" &
    wait $!
done
line "$name stopped"
