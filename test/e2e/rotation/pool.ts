import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readAuthority } from '../../../signer/authority/authority.ts';
import { createAuthority } from '../../../signer/authority/create.ts';
import type { AuthorityRecord, PoolDocument } from '../../../signer/authority/document.ts';
import { issueLeaf } from '../../../signer/authority/issue-leaf.ts';
import { poolJsonIn, serializePool } from '../../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../../signer/authority/read-document.ts';
import { makeSerial } from '../../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { rfc3339 } from '../../../spiffe/pki/time.ts';
import { svidProfile } from '../../../spiffe/svid-profile.ts';
import { usualTimeoutMs, waitFor } from '../../cluster/process.ts';
import { type Installation, trustDomain } from '../installation.ts';

type Cluster = Pick<Installation, 'controlPlane'>;

const path = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

async function readSecret({ controlPlane }: Cluster): Promise<{ version: string; document: PoolDocument }> {
  const { body } = await controlPlane.request('GET', path);
  const read = readPoolDocument(poolJsonIn(body) ?? '');
  if (!read.ok) throw new Error(read.problem.message);
  return { version: body.metadata.resourceVersion, document: read.document };
}

export async function readPool(cluster: Cluster): Promise<PoolDocument> {
  return (await readSecret(cluster)).document;
}

/** The CAs of the pool with these ids or states. */
export async function findCa(cluster: Cluster, wanted: string): Promise<AuthorityRecord | undefined> {
  const { authorities } = await readPool(cluster);
  return authorities.find(({ kind, id, state }) => kind === 'X509' && (id === wanted || state === wanted));
}

export const caOnce = (
  cluster: Cluster,
  wanted: string,
  timeoutMs = usualTimeoutMs,
): Promise<AuthorityRecord> =>
  waitFor(`a CA that is ${wanted}`, () => findCa(cluster, wanted), { timeoutMs });

const hour = 3_600;

/** Makes a CA an hour old, so that its rotation is due. */
export async function makeOld(cluster: Cluster, id: string): Promise<void> {
  const then = rfc3339(Math.floor(Date.now() / 1000) - hour);
  const dates = { createdAt: then, publishedAt: then, activatedAt: then };
  await changePool(cluster, (authorities) =>
    authorities.map((each) => (each.id === id ? { ...each, ...dates } : each)),
  );
}

/** Adds the CA `before`, which signed before the first one. Its certificates ended an hour ago. */
export async function addEnded(cluster: Cluster): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  const before = await createAuthority({ id: 'before', trustDomain, now: now - 9 * hour });
  const retiring: AuthorityRecord = { ...before, state: 'retiring', deactivatedAt: rfc3339(now - 3 * hour) };
  await changePool(cluster, (authorities) => [retiring, ...authorities]);
}

/** The signer changes the pool too. */
async function changePool(
  cluster: Cluster,
  change: (authorities: readonly AuthorityRecord[]) => AuthorityRecord[],
): Promise<void> {
  await waitFor('the pool to be written', async () => {
    const { version, document } = await readSecret(cluster);
    const { sequence, authorities } = document;
    const data = serializePool({ ...document, sequence: sequence + 1, authorities: change(authorities) });
    const body = { metadata: { resourceVersion: version }, data };
    return (await cluster.controlPlane.request('PATCH', path, body)).status === 200;
  });
}

/** What a thief of a CA key makes: key and chain, PEM, valid for a day. */
export async function forge(stolen: AuthorityRecord, spiffeId: string): Promise<string> {
  const read = readAuthority(stolen, stolen.id, trustDomain);
  if (!read.ok || !read.authority.signingAuthority) throw new Error(`${stolen.id} cannot sign`);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ format: 'der', type: 'spki' }));
  if (key.kind !== 'supported') throw new Error('a P-256 key is not supported');
  const now = Math.floor(Date.now() / 1000);
  const { chainPem } = await issueLeaf({
    authority: read.authority.signingAuthority,
    profile: svidProfile,
    subject: { uris: [spiffeId], dnsNames: [] },
    key,
    validity: { notBefore: now - 60, notAfter: now + 86_400 - 3_600 },
    serial: makeSerial(randomBytes),
  });
  return `${privateKey.export({ format: 'pem', type: 'pkcs8' })}${chainPem}`;
}
