import { runCommand } from './command.ts';
import type { ClusterNetwork } from './network.ts';
import { isStateIdInUse } from './state-folder.ts';

const linkPrefix = 'ks-';

/** The bridge on the host that all nodes of one cluster are plugged into; made when the first node joins. */
export async function ensureBridge(id: string, network: ClusterNetwork): Promise<string> {
  const name = linkPrefix + id;
  if ((await links()).includes(name)) return name;
  await runCommand('ip', 'link', 'add', name, 'type', 'bridge');
  await runCommand('ip', 'address', 'add', `${network.host}/${network.prefix}`, 'dev', name);
  await runCommand('ip', 'link', 'set', name, 'up');
  return name;
}

/**
 * Removes the bridge of a cluster with the cables to its nodes. A cable does not always go with its namespace:
 * the kernel keeps that for a while for the sake of half-closed connections.
 */
export async function removeLinks(id: string): Promise<void> {
  for (const name of await links()) {
    if (idOf(name) === id) await runCommand('ip', 'link', 'delete', name).catch(() => {});
  }
}

/** Links whose owners were killed before they could remove them. */
export async function removeStaleLinks(): Promise<void> {
  for (const name of await links()) {
    const id = idOf(name);
    if (id !== undefined && !isStateIdInUse(id)) await removeLinks(id);
  }
}

function idOf(name: string): string | undefined {
  return /^ks-([0-9a-f]{8})(-\d+)?$/.exec(name)?.[1];
}

async function links(): Promise<string[]> {
  const all: { ifname?: string }[] = JSON.parse((await runCommand('ip', '-json', 'link', 'show')) || '[]');
  return all.flatMap(({ ifname }) => ifname ?? []).filter((name) => name.startsWith(linkPrefix));
}

/** Plugs the network namespace of process `pid` into the bridge as the nth node. */
export async function plugIn(
  pid: number,
  index: number,
  bridge: string,
  network: ClusterNetwork,
): Promise<void> {
  const inside = (...args: string[]) => runCommand('nsenter', `--net=/proc/${pid}/ns/net`, 'ip', ...args);
  const port = `${bridge}-${index}`;
  await runCommand('ip', 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid));
  await runCommand('ip', 'link', 'set', port, 'master', bridge, 'up');
  await inside('link', 'set', 'lo', 'up');
  await inside('address', 'add', `${network.node(index)}/${network.prefix}`, 'dev', 'eth0');
  await inside('link', 'set', 'eth0', 'up');
  // Addresses of Services are looked up in the routing table before kube-proxy's rules replace them.
  await inside('route', 'add', 'default', 'via', network.host);
}

/** Lets the namespaces of `pid` reach the pods of another node. */
export async function routePods(pid: number, otherIndex: number, network: ClusterNetwork): Promise<void> {
  await runCommand(
    'nsenter',
    `--net=/proc/${pid}/ns/net`,
    'ip',
    'route',
    'replace',
    network.podCidr(otherIndex),
    'via',
    network.node(otherIndex),
  );
}
