#!/bin/bash
# Runs the tests: `unit` needs nothing but npm packages and Go, `cluster` a real Kubernetes, `all` more versions of it.
# Test files are found by folder, so that a new one cannot be forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-unit}
cluster_folders=(test/contract test/manifests test/e2e)

# One file at a time: each starts a Kubernetes of its own. What a failed test leaves running must not keep its file,
# and with it the whole run, from ending.
one_by_one=(--test-concurrency=1 --test-force-exit)

find_tests() { find "$@" -name '*.test.ts' | LC_ALL=C sort; }

unit_tests() {
  local exclude=()
  for folder in "${cluster_folders[@]}"; do exclude+=(-not -path "$folder/*"); done
  find_tests test "${exclude[@]}"
}

run() {
  local -a files
  mapfile -t files < <("$1")
  [ "${#files[@]}" -gt 0 ] || { echo "error: no test files found" >&2; exit 1; }
  shift
  node --test --test-reporter=spec "$@" "${files[@]}"
}

cluster_tests() { find_tests "${cluster_folders[@]}"; }
e2e_tests() { find_tests test/e2e; }

case $kind in
  unit) run unit_tests ;;
  cluster) run cluster_tests "${one_by_one[@]}" ;;
  older) KUBESPIFFE_TEST_CLUSTERS='1.36.3 1.35.4 1.37.1+1.35.4' run e2e_tests "${one_by_one[@]}" ;;
  *) echo "usage: test.sh unit | cluster | older" >&2; exit 2 ;;
esac
