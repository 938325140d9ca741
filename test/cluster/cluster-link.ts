import { runCommand } from './command.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Node } from './node.ts';

/** A cluster with the one node by which others reach it. */
export interface LinkedCluster {
  readonly controlPlane: Pick<ControlPlane, 'network'>;
  readonly node: Pick<Node, 'pid' | 'address'>;
}

/** The cable between two clusters. It goes with their nodes. */
export interface ClusterLink {
  /** Loses this share of the packets from now on, in percent, in both directions. */
  lose(percent: number): Promise<void>;
  /** How many packets were lost since `lose` was called. */
  lost(): Promise<number>;
}

const device = 'other-cluster';

/**
 * Connects two clusters, so that all addresses of one are reached from the nodes and pods of the other. Each node sends on
 * what comes for an address of its cluster that is not its own, such as that of a load balancer. Addresses of pods stay
 * inside: every cluster has the same.
 */
export async function linkClusters(one: LinkedCluster, other: LinkedCluster): Promise<ClusterLink> {
  const [a, b] = [one.node.pid, other.node.pid].map(String);
  const peer = ['peer', 'name', device, 'netns', b ?? ''];
  await runCommand('ip', 'link', 'add', device, 'netns', a ?? '', 'type', 'veth', ...peer);
  for (const [own, far] of [[one, other] as const, [other, one] as const]) {
    const ip = (...words: string[]) => inNode(own, 'ip', ...words);
    await ip('link', 'set', device, 'up');
    const block = `${networkOf(far)}/${far.controlPlane.network.prefix}`;
    await ip('route', 'add', `${far.node.address}/32`, 'dev', device, 'src', own.node.address);
    await ip('route', 'add', block, 'via', far.node.address, 'src', own.node.address);
  }
  return {
    async lose(percent) {
      for (const end of [one, other]) await inNode(end, 'nft', lossRules(percent));
    },
    async lost() {
      const lists = await Promise.all(
        [one, other].map((end) => inNode(end, 'nft', 'list', 'table', 'ip', 'packet-loss')),
      );
      return lists.reduce((sum, list) => sum + Number(/packets (\d+)/.exec(list)?.[1]), 0);
    },
  };
}

/** The address that its block begins with, one below that of the host. */
function networkOf({ controlPlane }: LinkedCluster): string {
  const bytes = controlPlane.network.host.split('.').map(Number);
  return [...bytes.slice(0, 3), (bytes[3] ?? 0) - 1].join('.');
}

function lossRules(percent: number): string {
  return `table ip packet-loss
delete table ip packet-loss
table ip packet-loss {
  chain lossy {
    type filter hook prerouting priority -300
    iifname ${device} numgen random mod 100 < ${percent} counter drop
  }
}
`;
}

function inNode({ node }: LinkedCluster, ...command: string[]): Promise<string> {
  return runCommand('nsenter', `--net=/proc/${node.pid}/ns/net`, ...command);
}
