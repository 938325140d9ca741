#!/bin/sh
# Installs Debian packages that are missing: those named, or those that the tests need: a real Kubernetes node, the
# judge that is written in Python, and the shells that complete our command, and a log collector.
set -eu
if [ $# -eq 0 ]; then
  set -- containerd runc containernetworking-plugins busybox-static iptables nftables iproute2 util-linux procps \
    openssl tar curl jq rsyslog python3 python3-venv zsh fish
  why='the tests run on them'
else
  why='this step runs on them'
fi
if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "this is no Debian: make sure that these are installed: $*" >&2
  exit 0
fi
missing=
for package in "$@"; do
  state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
here=$(dirname "$0")
if [ "$(id -u)" -ne 0 ]; then
  echo "error: Debian packages are missing; $why. Run: sudo apt-get install -y$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Debian starts the servers that it installs, unless this file says no. The tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
fi
"$here/with-progress.sh" 'reading the list of Debian packages' apt-get update
# shellcheck disable=SC2086 # a list of names
"$here/with-progress.sh" "installing the Debian packages$missing: $why" \
  apt-get install -y --no-install-recommends $missing
