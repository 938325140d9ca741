import { X509Certificate } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PodCertificateRequest } from '../../../signer/kube/types.ts';
import type { Installation } from '../installation.ts';
import { namespace } from './ring.ts';

const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
const requestsPath = `/apis/certificates.k8s.io/v1/namespaces/${namespace}/podcertificaterequests`;
/** Holds everything that was issued against the live bundle, all the time. */
export interface Witness {
  /** What was wrong at any moment so far. */
  readonly problems: ReadonlySet<string>;
  /** How often all certificates were compared with the bundle. */
  looks(): number;
  /** Another certificate (PEM, the leaf first) that the live bundle must verify from now on. @returns the name of its CA. */
  add(chain: string): string;
  /** Whether a root (PEM) was ever in the live bundle. */
  hasSeen(root: string): boolean;
  /** Lets a CA leave the bundle although certificates of it are valid: somebody forces that. */
  giveUp(ca: string): void;
  stop(): Promise<void>;
}

/** @param restMs between two looks. */
export function startWitness({ controlPlane }: Installation, restMs: number): Witness {
  const leaves = new Map<string, X509Certificate>();
  /** Roots that were ever in the live bundle, by fingerprint. */
  const seen = new Map<string, X509Certificate>();
  const givenUp = new Set<string>();
  const problems = new Set<string>();
  let looks = 0;
  let isStopped = false;

  const issuerOf = (leaf: X509Certificate) =>
    [...seen.values()].find((root) => leaf.checkIssued(root) && leaf.verify(root.publicKey));

  function add(chain: string): string {
    const leaf = new X509Certificate(chain);
    leaves.set(leaf.serialNumber, leaf);
    return commonName(leaf.issuer);
  }

  async function look(): Promise<void> {
    const { items } = await read<{ items: PodCertificateRequest[] }>(requestsPath);
    for (const { status } of items) if (status?.certificateChain) add(status.certificateChain);
    const valid = [...leaves.values()].filter(({ validToDate }) => validToDate.getTime() > Date.now());
    // A certificate that is known here was issued before this bundle is read.
    const { spec } = await read<{ spec: { trustBundle: string } }>(bundlePath);
    const live = new Set(
      certificatesIn(spec.trustBundle).map((root) => {
        seen.set(root.fingerprint256, root);
        return root.fingerprint256;
      }),
    );
    looks += 1;
    for (const leaf of valid) {
      const ca = commonName(leaf.issuer);
      const root = issuerOf(leaf);
      if (givenUp.has(ca) || (root && live.has(root.fingerprint256))) continue;
      problems.add(
        `certificate ${leaf.serialNumber} of ${ca}: its root ${root ? 'has left' : 'was never in'} the live bundle`,
      );
    }
  }

  async function read<T>(path: string): Promise<T> {
    const { status, body } = await controlPlane.request('GET', path);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    return body as T;
  }

  const ended = (async () => {
    while (!isStopped) {
      // The API server is away at times.
      await look().catch(() => undefined);
      await sleep(restMs);
    }
  })();
  return {
    problems,
    looks: () => looks,
    add,
    hasSeen: (root) => seen.has(new X509Certificate(root).fingerprint256),
    giveUp: (ca) => void givenUp.add(ca),
    async stop() {
      isStopped = true;
      await ended;
    },
  };
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

const commonName = (name: string): string => /^CN=(.*)$/m.exec(name)?.[1] ?? name;
