# shellcheck shell=bash
# What the tests of running stacks share: verdicts that are counted, and waiting on a condition with a bound.

# shellcheck source=scripts/ports.sh
. "$ROOT/scripts/ports.sh"

passed=0 failed=0
verdict() { # verdict NAME COMMAND…
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); echo "    ok      $name"; else failed=$((failed + 1)); echo "    FAILED  $name"; fi
}

# The closing line; false if anything failed.
verdicts() { # verdicts TITLE
    echo "$1: $passed passed, $failed failed"
    [ $failed -eq 0 ]
}

within() { # within SECONDS COMMAND…: until it succeeds
    local limit=$((SECONDS + $1))
    shift
    until "$@"; do [ $SECONDS -lt $limit ] || return 1; sleep 0.1; done
}

# grep that reads to the end: with -q it would leave early, and the writer would die of it.
has() { grep "$@" >/dev/null; }
