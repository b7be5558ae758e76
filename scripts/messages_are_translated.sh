#!/usr/bin/env bash
# Every text that a user of run_microservices.sh may see has a Polish form: what is said, and every line of a failure. Commands
# to type are the same in both languages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/say.sh

files=(run_microservices.sh docker/base.sh scripts/{stack,containers,engine,mode,monitoring,packages,toolchain,try,build_portable,build_gateway}.sh)
missing=0
while IFS= read -r text; do
    [ -n "${POLISH[$text]:-}" ] || { echo "error: no Polish for: $text" >&2; missing=1; }
done < <(perl -0777 -ne '
    # A command in several lines is one; a text that holds values comes through t.
    s/\\\n\s*/ /g;
    my $text = qr/"(?:[^"\$\\]|\\.)*"|\x27[^\x27]*\x27/;
    my $values = qr/"\$\((?:[^()]|\((?:[^()])*\))*\)"/;
    my @found;
    while (/(?<![\w-])(say|note|t|tried|ensure_packages|ensure_venv)\s+($text)/g) { push @found, $2 }
    while (/(?<![\w-])fail((?:\s+(?:$text|$values|"[^"]*"))+)/g) {
        my $all = $1;
        while ($all =~ /($values)|($text)|"[^"]*"/g) { push @found, $2 if defined $2 }
    }
    for (@found) {
        my $quoted = /^"/;
        s/^.(.*).$/$1/s;
        s/\\(.)/$1/g if $quoted;
        print "$_\n" unless m{^(\./|sudo |ulimit |[A-Z_]+=|run --|scale |)$|^(\./run_microservices|sudo |[A-Z_]+=|scale [a-z]|https?:)};
    }
' "${files[@]}" | sort -u)
[ $missing -eq 0 ] || exit 1
echo "    ${#POLISH[@]} texts"
