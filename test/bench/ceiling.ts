// The API server's own ceiling: a process that answers requests with status writes made beforehand. It watches
// nothing, decides nothing and signs nothing while it is measured; it is told the UID of each new request, which is
// all that the prepared bytes lack.

import { randomBytes } from 'node:crypto';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { pathOf, prepareAnswer } from '../../signer/issuance/status.ts';
import { leafValidity } from '../../signer/issuance/validity.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { supportedKey } from '../spiffe/pki/keys.ts';
import { type ApiClient, openApi } from './api-client.ts';
import { serveCalls } from './worker.ts';

/** A request that will be created. */
export interface Foreseen {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly spki: string;
}

/** A request that was created. */
export interface Created {
  readonly name: string;
  readonly uid: string;
}

const concurrency = 32;
const uidPlaceholder = '00000000-0000-0000-0000-000000000000';
const trustDomain = 'example.org';
const policy = { maxLifetimeSeconds: 86_400, refreshFraction: 0.5, refreshJitter: 0.1 };

const prepared = new Map<string, { path: string; head: string; tail: string }>();
const waiting: Created[] = [];
const writes: number[] = [];
let api: ApiClient | undefined;
let running = 0;
let whenIdle: (() => void) | undefined;

/** The same bytes as the signer writes, made by the same code. */
async function prepare(requests: readonly Foreseen[]): Promise<void> {
  const authority = authorityOf(await makeCa({ trustDomain }));
  const now = Math.floor(Date.now() / 1000);
  prepared.clear();
  writes.length = 0;
  for (const { namespace, name, serviceAccount, spki } of requests) {
    const spiffeId = makeSpiffeId(trustDomain, ['ns', namespace, 'sa', serviceAccount]);
    const validity = leafValidity({
      now,
      maxExpirationSeconds: 86_400,
      policy,
      authorityNotBefore: authority.notBefore,
      authorityNotAfter: authority.notAfter,
      jitter: Math.random(),
    });
    if (!spiffeId.ok || !validity) throw new Error('the answers of the ceiling run cannot be made');
    const leaf = await issueLeaf({
      authority,
      profile: svidProfile,
      subject: spiffeSubject(spiffeId.value),
      key: supportedKey(Buffer.from(spki, 'base64')),
      validity,
      serial: makeSerial(randomBytes),
    });
    const address = { uid: uidPlaceholder, namespace, name, version: 'v1' as const };
    const condition = { type: 'Issued', reason: 'Issued', message: spiffeId.value.uri, at: now } as const;
    const [head = '', tail = ''] = prepareAnswer(address, condition, { ...leaf, ...validity }).body.split(
      uidPlaceholder,
    );
    prepared.set(name, { path: `${pathOf(address)}/status?fieldManager=ceiling`, head, tail });
  }
}

function answer(request: Created): void {
  waiting.push(request);
  if (running < concurrency) void work();
}

async function work(): Promise<void> {
  running += 1;
  for (let request = waiting.shift(); request; request = waiting.shift()) await write(request);
  running -= 1;
  if (running === 0) whenIdle?.();
}

async function write({ name, uid }: Created): Promise<void> {
  const ready = prepared.get(name);
  if (!api || !ready) throw new Error(`no answer was prepared for ${name}`);
  const body = ready.head + uid + ready.tail;
  const {
    status,
    sentAt,
    answeredAt,
    body: text,
  } = await api.send('PATCH', ready.path, body, {
    contentType: 'application/merge-patch+json',
  });
  if (status !== 200) throw new Error(`PATCH ${ready.path}: ${status} ${text}`);
  writes.push(answeredAt - sentAt);
}

const calls = {
  open: async ({ kubeconfig }: { kubeconfig: string }) => {
    api = await openApi(kubeconfig);
  },
  prepare,
  answer,
  /** How long each write took, in milliseconds, once none is under way. */
  finish: async (_: undefined): Promise<number[]> => {
    if (running > 0) {
      await new Promise<void>((resolve) => {
        whenIdle = resolve;
      });
    }
    return writes;
  },
};
export type CeilingCalls = typeof calls;

serveCalls(calls);
