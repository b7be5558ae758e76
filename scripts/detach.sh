# shellcheck shell=bash
# How scripts start what outlives them: in a session of its own, with nothing of the caller's but its environment.

# detach LOG COMMAND…: in the background, its output appended to LOG; its number is in $!. It gets no open file of the caller's: a
# lock that is held by a descriptor would stay held, and whoever reads a pipe to its end would wait for ever.
detach() {
    local log=$1
    shift
    (
        close_inherited
        exec setsid "$@"
    ) </dev/null >>"$log" 2>&1 &
}

# Closes everything but standard input, output and error.
close_inherited() {
    local path descriptor
    for path in /dev/fd/*; do
        descriptor=${path##*/}
        if [[ $descriptor =~ ^[0-9]+$ ]] && [ "$descriptor" -gt 2 ]; then exec {descriptor}>&-; fi
    done
}
