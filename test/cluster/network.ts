/**
 * The network of one cluster: 64 addresses of 100.64.0.0/10, chosen by the API server's port. There are exactly
 * 65,536 such blocks, and a port belongs to one server at a time, so clusters side by side never collide and
 * nothing needs to be agreed on before the API server starts.
 */
export interface ClusterNetwork {
  /** The host's address, at which nodes and pods reach the API server. */
  readonly host: string;
  /** Prefix length of the block. */
  readonly prefix: 26;
  /** Address of the nth node, 0 … 60. */
  node(index: number): string;
  /** Addresses for the pods of the nth node; they are known inside the cluster only. */
  podCidr(index: number): string;
}

export const serviceCidr = '10.96.0.0/16';
/** First address of the Service range: the Service `kubernetes`. */
export const apiServiceAddress = '10.96.0.1';
/** The Service `kube-dns`. */
export const dnsServiceAddress = '10.96.0.10';
export const clusterDomain = 'cluster.local';

export function clusterNetwork(apiServerPort: number): ClusterNetwork {
  const base = ((100 << 24) | (64 << 16)) + apiServerPort * 64;
  return {
    host: dotted(base + 1),
    prefix: 26,
    node: (index) => dotted(base + 2 + index),
    podCidr: (index) => `10.244.${index}.0/24`,
  };
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}
