#!/bin/sh
# First process of a node: lives in PID, mount and network namespaces of its own, so that everything the node
# starts and mounts is gone when this process is. Argument: the node's state folder.
set -eu
state=$1

# Mounts made by kubelet must reach the containers, and none of them the host.
mount --make-rshared /

# Hard-coded places of kubelet, containerd, runc and the CNI plugins, taken away from the host's own.
mount -t tmpfs node-run /run
mount -t tmpfs node-lib /var/lib
mkdir -p /run/netns /run/lock /var/lib/kubelet /var/lib/cni "$state/log"
mount --bind "$state/kubelet" /var/lib/kubelet
# A kubelet removes the logs of pods that it does not know, so those of another node.
mount --bind "$state/log" /var/log

# kubelet insists on these three, and the host's own values are none of our business.
for pair in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file="$state/sysctl-$(basename "${pair%=*}")"
  echo "${pair#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${pair%=*}"
done

echo 1 >/proc/sys/net/ipv4/ip_forward
touch "$state/namespaces-ready"

# A shell waiting for a child also collects the processes that others have left to PID 1.
while :; do sleep 3600; done
