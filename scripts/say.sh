# shellcheck shell=bash
# How the scripts speak: steps on stdout, trouble on stderr with the way out. English, or Polish where the locale says so
# (LC_ALL, LC_MESSAGES, LANG); LLMO_LANG overrides them.

# shellcheck source=scripts/messages.sh
. "$(dirname "${BASH_SOURCE[0]}")/messages.sh"

say() { printf '==> %s\n' "$(t "$@")"; }
note() { printf '    %s\n' "$(t "$@")"; }

# fail MESSAGE [LINE…]: each is a text that is looked up as it stands; what has values in it comes through t.
fail() {
    printf '%s %s\n' "$(t 'error:')" "$(t "$1")" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$(t "$line")" >&2; done
    exit 1
}
