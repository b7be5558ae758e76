#!/usr/bin/env bash
# Every text that a user of run_microservices.sh may see has a Polish form.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/say.sh

files=(run_microservices.sh scripts/{stack,containers,engine,mode,packages}.sh)
missing=0
while IFS= read -r text; do
    [ -n "${POLISH[$text]:-}" ] || { echo "error: no Polish for: $text" >&2; missing=1; }
done < <({
    grep -ohE "\b(say|note|fail|t) \"[^\"\$]*\"" "${files[@]}" | sed -E 's/^[a-z]+ "(.*)"$/\1/'
    grep -ohE "\b(say|note|fail|t) '[^']*'" "${files[@]}" | sed -E "s/^[a-z]+ '(.*)'\$/\1/"
} | sort -u)
[ $missing -eq 0 ] || exit 1
echo "    ${#POLISH[@]} texts"
