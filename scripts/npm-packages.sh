#!/bin/sh
# Installs the npm packages that package-lock.json names; a Node of version 24 is among them, so any npm will do.
set -eu
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null 2>&1; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    scripts/debian-packages.sh npm
  else
    echo "error: npm is needed to install the packages that kubespiffe is made of: install Node.js (https://nodejs.org)" >&2
    exit 1
  fi
fi
scripts/with-progress.sh 'installing the npm packages of package-lock.json, Node 24 among them' npm ci
touch node_modules/.stamp
