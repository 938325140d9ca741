#!/bin/bash
# Runs the tests: `unit` needs nothing but npm packages and Go, `cluster` a real Kubernetes, `older` the end-to-end
# tests on more versions of it. Test files are found by folder, so that a new one cannot be forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-unit}
cluster_folders=(test/contract test/manifests test/e2e)

# These compare durations that they measure, or flood a signer, so they run with nothing beside them.
alone=(test/contract/takeover.test.ts test/contract/token-outage.test.ts)

# Cluster tests wait more than they compute, so three files share two cores well. A failed test may leave processes
# running; --test-force-exit ends its file all the same.
three_at_once=(--test-concurrency=3 --test-force-exit)

# A short-lived program spends half of its CPU time on its start, and the tests start hundreds: Node keeps compiled code,
# and programs in Go collect garbage less often.
export NODE_COMPILE_CACHE=$PWD/.cache/compile
export GOGC=400

find_tests() { find "$@" -name '*.test.ts' | LC_ALL=C sort; }

unit_tests() {
  local exclude=()
  for folder in "${cluster_folders[@]}"; do exclude+=(-not -path "$folder/*"); done
  find_tests test "${exclude[@]}"
}
cluster_tests() { LC_ALL=C comm -23 <(find_tests "${cluster_folders[@]}") <(lone_tests); }
lone_tests() { find_tests "${alone[@]}"; }
e2e_tests() { find_tests test/e2e; }

run() {
  local -a files
  mapfile -t files < <("$1")
  [ "${#files[@]}" -gt 0 ] || { echo "error: no test files found" >&2; exit 1; }
  shift
  node --test --test-reporter=spec "$@" "${files[@]}"
}

case $kind in
  unit) run unit_tests --test-concurrency="$(nproc)" ;;
  cluster)
    run cluster_tests "${three_at_once[@]}"
    run lone_tests --test-concurrency=1 --test-force-exit
    ;;
  older) KUBESPIFFE_TEST_CLUSTERS='1.36.3 1.35.4 1.37.1+1.35.4' run e2e_tests "${three_at_once[@]}" ;;
  *) echo "usage: test.sh unit | cluster | older" >&2; exit 2 ;;
esac
