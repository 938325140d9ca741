import { createPoolHolder } from '../../signer/authority/holder.ts';
import { identify, type Terms } from '../../signer/identity/identify.ts';
import type { Guard } from '../../signer/issuance/guard.ts';
import { type CertificateRequest, type OpenRequest, requestKey } from '../../signer/issuance/request.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import { createStore } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type { ApiRequest } from '../../signer/kube/transport.ts';
import type { CertificatesVersion, PodCertificateRequestStatus, Secret } from '../../signer/kube/types.ts';
import type { AuditRecord } from '../../signer/observe/audit.ts';
import { nothingPublished } from '../authority/published.ts';
import { createFakeTime, settle } from '../kube/fake-time.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';
import { anOpenRequest, aPod, aSupportedKey } from './examples.ts';
import { createParts } from './parts.ts';

/** Epoch seconds at which the clock of a replica starts. */
export const startsAt = Date.UTC(2026, 10, 25, 12) / 1000;

/** What becomes of a status write: `lost` goes through, and the answer does not come back. */
export type Fate = 'through' | 'lost' | Answer;

interface StatusPatch {
  readonly metadata: { readonly uid: string };
  readonly status: PodCertificateRequestStatus;
}

/**
 * One replica's control loop with everything in it that is ours: queue, stores, signing, reports and Events. The
 * clock stands still until it is moved; the API server is a script that keeps the first terminal status, as the real one
 * does, which is shown in the contract tests.
 */
export async function startReplica(options: { pool: Secret; concurrency?: number }) {
  const self = 'signer-a';
  const time = createFakeTime(startsAt * 1000);
  const api = createScriptedApi();
  const requests = createStore<CertificateRequest>({
    time: realTime,
    indexes: {
      pod: (request) => (request.answered ? undefined : `${request.namespace}/${request.podName}`),
    },
  });
  const pods = createStore<PodFacts>({ time: realTime });
  const holder = createPoolHolder({
    trustDomain: 'example.org',
    published: nothingPublished,
    rootPropagationSeconds: 390,
    onChange: () => undefined,
  });
  const audits: AuditRecord[] = [];
  const stored = new Map<string, PodCertificateRequestStatus>();
  const memberListeners: (() => void)[] = [];
  let members: readonly string[] = [self];

  const { controller, events, metrics } = createParts({
    self,
    time,
    transport: api.transport,
    requests,
    pods,
    servedVersions: () => world.served,
    members: { members: () => members, onChange: (listener) => void memberListeners.push(listener) },
    refusal: () => world.refusal,
    signable: (now) =>
      world.isConfirmed ? holder.signable(now) : { ok: false, problem: { ...unconfirmed } },
    identify: (pod) => {
      const identity = identify(pod, { trustDomain: 'example.org' });
      return identity.ok && world.terms ? { ...identity, terms: world.terms } : identity;
    },
    isPublished: () => world.isPublished,
    clockProblem: () => world.clockProblem,
    audit: (record) => void audits.push(record),
    onError: (error) => {
      throw error;
    },
    ...(options.concurrency !== undefined && { concurrency: options.concurrency }),
  });

  const world = {
    self,
    time,
    api,
    requests,
    pods,
    audits,
    /** What the API server does with the next status writes. */
    fate: (_patch: StatusPatch): Fate => 'through',
    served: ['v1'] as readonly CertificatesVersion[],
    clockProblem: undefined as string | undefined,
    isPublished: true,
    /** What a registration says of the certificates of pods. */
    terms: undefined as Terms | undefined,
    /** Why requests are not believed to come from nodes. */
    refusal: undefined as ReturnType<Guard['refusal']>,
    isConfirmed: true,
    /** What a live look at any pod finds. */
    livePod: { status: 500 } as Answer,
    /** The status that the API server has. */
    stored,
    /** Statuses that were sent, as they arrived, and to which path. */
    writes: () => api.requests.filter(({ method }) => method === 'PATCH').filter(isStatusWrite),
    chains: () =>
      world.writes().map(({ body }) => (JSON.parse(String(body)) as StatusPatch).status.certificateChain),
    /** The Events that were written. */
    events: () =>
      api.requests
        .filter(({ method, resource }) => method === 'POST' && resource === 'events')
        .map(({ body }) => body as { reason: string; note: string; regarding: { name: string } }),
    putPool: (secret: Secret) => holder.offer(secret, startsAt),
    setMembers(...names: string[]) {
      members = names;
      for (const listener of memberListeners) listener();
    },
    /** The watch tells of a request and of its pod. */
    async see(different: Partial<OpenRequest> = {}) {
      const request = anOpenRequest({ key: { form: 'spki', base64: keyBase64 }, ...different });
      pods.set(`${request.namespace}/${request.podName}`, aPod());
      requests.set(requestKey(request), request);
      await settle();
      return request;
    },
    /** The watch tells that a request has an answer, and whose. */
    async seeAnswer(
      { uid, namespace, name, version }: OpenRequest,
      answeredBy = self,
      answered: 'Issued' | 'Denied' = 'Issued',
    ) {
      requests.set(`${namespace}/${name}`, { uid, namespace, name, version, answered, answeredBy });
      await settle();
    },
    /** A line of /metrics, 0 where there is none. */
    async metric(line: string) {
      const text = await metrics.render();
      return Number(
        text
          .split('\n')
          .find((each) => each.startsWith(`${line} `))
          ?.slice(line.length) ?? 0,
      );
    },
    controller,
    stop: undefined as unknown as () => Promise<void>,
  };
  world.putPool(options.pool);

  api.answer = ({ method, path, body }) => {
    const name = /podcertificaterequests\/([^/]+)/.exec(path)?.[1];
    if (path.includes('/pods/')) return world.livePod;
    if (name === undefined) return { status: 201 };
    if (method === 'GET')
      return { status: 200, body: { metadata: { uid, managedFields }, status: stored.get(name) } };
    const patch = JSON.parse(String(body)) as StatusPatch;
    uid = patch.metadata.uid;
    const fate = world.fate(patch);
    if (fate !== 'through' && fate !== 'lost') return fate;
    const held = stored.get(name);
    if (held && JSON.stringify(held) !== JSON.stringify(patch.status)) return { status: 422 };
    stored.set(name, patch.status);
    return fate === 'lost' ? 'broken' : { status: 200 };
  };
  let uid = '';
  const managedFields = [{ manager: self, subresource: 'status' }];

  const ended = new AbortController();
  const running = Promise.all([controller.run(ended.signal), events.run(ended.signal)]);
  world.stop = async () => {
    ended.abort();
    await running;
  };
  return world;
}

export type Replica = Awaited<ReturnType<typeof startReplica>>;

const keyBase64 = Buffer.from(aSupportedKey.spki).toString('base64');
const unconfirmed = {
  reason: 'PoolUnconfirmed',
  field: 'pool',
  what: 'is not confirmed',
  remedy: 'wait',
  message: 'pool: is not confirmed; wait',
} as const;

function isStatusWrite({ path }: ApiRequest): boolean {
  return path.includes('/podcertificaterequests/');
}
