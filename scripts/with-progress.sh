#!/bin/sh
# with-progress.sh SENTENCE COMMAND [ARGUMENT ...]: runs a command that is silent for long; says every 5 s that it
# is still at work, and shows the command's output only if it fails.
set -u
sentence=$1
shift
log=$(mktemp)
started=$(date +%s)
echo "$sentence"
"$@" >"$log" 2>&1 </dev/null &
child=$!
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 130' INT TERM
(while sleep 5; do echo "$sentence: $(($(date +%s) - started)) s"; done) &
ticker=$!
wait "$child"
code=$?
child=
kill "$ticker" 2>/dev/null
wait "$ticker" 2>/dev/null
[ "$code" -eq 0 ] || cat "$log" >&2
exit "$code"
