import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { identify } from '../../signer/identity/identify.ts';
import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { startTokenSigner } from '../contract/token-endpoint.ts';
import { supportedKey } from '../spiffe/pki/keys.ts';
import type { Target } from './token-client.ts';
import {
  measured,
  signaturesPerCpuSecond,
  type TokenBench,
  type TokenRun,
  type TokenSizes,
  unlimited,
} from './token-runs.ts';

/** JWT-SVIDs for pods that prove themselves with their certificates. */
export interface CertificateRound {
  /** Bare ES256 signatures per CPU second. */
  readonly signatures: number;
  readonly run: TokenRun;
}

const switchedOn = ['--leaf-pod-identity', 'true', '--token-client-certificates', 'true'];

/** Measures a signer of its own, as one that asks for certificates costs a little more for tokens too. */
export async function measureCertificates(bench: TokenBench, sizes: TokenSizes): Promise<CertificateRound[]> {
  const { cluster, load, pool } = bench;
  const signer = await startTokenSigner(
    { kubeconfig: cluster.signerKubeconfig, pool },
    { replica: 'signer-b', flags: [...unlimited, ...switchedOn] },
  );
  try {
    await signer.signer.ready();
    const targets = await targetsOf(bench, signer.port);
    const run = (seconds: number) => load.call('certificates', { seconds, targets });
    await run(sizes.seconds / 2);
    const rounds: CertificateRound[] = [];
    while (rounds.length < sizes.rounds) {
      const signatures = await signaturesPerCpuSecond(sizes.seconds / 2);
      rounds.push({
        signatures,
        run: await measured({ ...bench, signer }, () => run(sizes.seconds)),
      });
    }
    return rounds;
  } finally {
    signer.agent.destroy();
    await signer.signer.child.stop();
  }
}

/** The endpoint, called with the certificate of one pod or another, as the signer would issue them. */
async function targetsOf({ pool, load, place }: TokenBench, port: number): Promise<Target[]> {
  const compiled = compilePool(pool, 'example.org');
  const authority = compiled.ok ? compiled.pool.active?.signingAuthority : undefined;
  const { namespace, serviceAccount, node } = place;
  const named = { namespace, serviceAccountName: serviceAccount.name };
  const identity = identify(named, { trustDomain: 'example.org' });
  if (!authority || !identity.ok) throw new Error('the pool cannot sign for the pods of the load');
  const extensionsFor = leafExtensions({ podIdentity: true, issuer: undefined });
  const profile = { ...svidProfile, extensionsFor };
  const now = Math.floor(Date.now() / 1000);
  const ca = pool.authorities.flatMap(({ certificate }) => certificate ?? []);
  const owners = await load.call('owners', undefined);
  return Promise.all(
    owners.map(async (pod) => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { chainPem } = await issueLeaf({
        authority,
        profile,
        subject: identity.subject,
        key: supportedKey(publicKey.export({ type: 'spki', format: 'der' })),
        validity: { notBefore: now - 120, notAfter: now + 3600 },
        serial: makeSerial(randomBytes),
        pod: {
          namespace,
          serviceAccountName: serviceAccount.name,
          serviceAccountUID: serviceAccount.uid,
          podName: pod.name,
          podUID: pod.uid,
          nodeName: node.name,
          nodeUID: node.uid,
        },
      });
      const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      return { host: '127.0.0.1', port, servername: 'localhost', ca, cert: chainPem, key };
    }),
  );
}
