import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createPoolHolder } from '../../signer/authority/holder.ts';
import { type CertificateRequest, toCertificateRequest } from '../../signer/issuance/request.ts';
import { ApiConnectionError } from '../../signer/kube/api-error.ts';
import { type PodFacts, toPodFacts } from '../../signer/kube/pods.ts';
import { createStore, type Store } from '../../signer/kube/store.ts';
import { realTime } from '../../signer/kube/time.ts';
import type {
  Pod,
  PodCertificateRequest,
  PodCertificateRequestStatus,
  Secret,
} from '../../signer/kube/types.ts';
import type { AuditRecord } from '../../signer/observe/audit.ts';
import type { Cannot } from '../../signer/observe/reasons.ts';
import { nothingPublished } from '../authority/published.ts';
import { createFakeTime } from '../kube/fake-time.ts';
import { type Answer, createScriptedApi } from '../kube/scripted-api.ts';
import { createParts } from './parts.ts';
import { startsAt } from './replica.ts';

const namespace = 'shop';
const signerName = 'kubespiffe.io/spiffe';
/** A replica that stops renewing its Lease is a member for so long. */
const deadAfterMs = 10_000;

/**
 * What becomes of a status write. `lost`: it goes through, and the response does not. `late`: the connection breaks, and
 * it goes through a second later. `proxy`: something in front of the API server says 200.
 */
export const fates = ['through', 'lost', 'late', 'broken', 'proxy', 'overloaded', 'forbidden'] as const;
export type Fate = (typeof fates)[number];

/** Open requests of one pod that a replica answers: few, so that requests wait for a place. */
const maxOpenOfPod = 2;

type WireRequest = PodCertificateRequest & { metadata: { uid: string; managedFields?: object[] } };
type Watched = 'requests' | 'pods';

/** Public keys, so that a certificate can be traced to its request. */
const keys = Array.from({ length: 8 }, () =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' }),
);

/**
 * Replicas of the signer around a model of the API server. The control loops are the real ones; time stands still until
 * it is moved. What the model says of the API server (the first terminal status stays, a UID in the body must match) is
 * shown in the contract tests.
 */
export function createSimulation(pool: Secret) {
  const time = createFakeTime();
  const requests = new Map<string, WireRequest>();
  const pods = new Map<string, Pod>();
  const replicas: ReturnType<typeof addReplica>[] = [];
  const forgotten = new Set<ReturnType<typeof addReplica>>();
  const errors: unknown[] = [];
  /** Every status that a replica sent, in order. */
  const sent: { self: string; uid: string; chain?: string; at: number }[] = [];
  let made = 0;
  let currentPool = pool;

  const alive = () => replicas.filter(({ isDead }) => !isDead());
  const uid = () => `uid-${++made}`;

  function changed(watched: Watched, name: string): void {
    for (const replica of replicas) replica.deliver(watched, name);
  }

  function write(
    replica: string,
    name: string,
    patch: { metadata: { uid: string }; status: object },
  ): Answer {
    const held = requests.get(name);
    if (!held) return { status: 404, body: notFound(name) };
    if (held.metadata.uid !== patch.metadata.uid) return { status: 409 };
    const isTerminal = held.status?.conditions !== undefined;
    if (isTerminal && JSON.stringify(held.status) !== JSON.stringify(patch.status)) return { status: 422 };
    if (!isTerminal) {
      const managedFields = [{ manager: replica, subresource: 'status' }];
      const status = patch.status as PodCertificateRequestStatus;
      requests.set(name, { ...held, metadata: { ...held.metadata, managedFields }, status });
      changed('requests', name);
    }
    return { status: 200 };
  }

  function addReplica(self: string) {
    const controls = {
      /** Milliseconds by which its watches are behind. */
      lagMs: 0,
      /** What becomes of its next status writes. */
      fates: [] as Fate[],
      members: [self] as readonly string[],
      clockProblem: undefined as string | undefined,
      isPublished: true,
      refusal: undefined as Cannot<'RequestsUnguarded'> | undefined,
    };
    const audits: AuditRecord[] = [];
    const listeners: (() => void)[] = [];
    const lives = new AbortController();
    let hasDied = false;
    const stores = {
      requests: createStore<CertificateRequest>({
        time: realTime,
        indexes: { pod: (request) => (request.answered ? undefined : `${namespace}/${request.podName}`) },
      }),
      pods: createStore<PodFacts>({ time: realTime }),
    };
    const read = {
      requests: (name: string) => {
        const wire = requests.get(name);
        return wire && toCertificateRequest(wire, 'v1', undefined);
      },
      pods: (name: string) => {
        const wire = pods.get(name);
        return wire && toPodFacts(wire);
      },
    };
    // Events under way, in their order; a watch never overtakes itself.
    const underWay = { requests: new Set<() => void>(), pods: new Set<() => void>() };
    const lastDueAt = { requests: 0, pods: 0 };

    function deliver(watched: Watched, name: string): void {
      const object = read[watched](name) as never;
      const store = stores[watched] as Store<never>;
      const dueAt = Math.max(lastDueAt[watched], time.monotonic() + controls.lagMs);
      lastDueAt[watched] = dueAt;
      const arrive = () => {
        if (!underWay[watched].delete(arrive) || hasDied) return;
        if (object === undefined) store.delete(`${namespace}/${name}`);
        else store.set(`${namespace}/${name}`, object);
      };
      underWay[watched].add(arrive);
      time.timer(arrive, dueAt - time.monotonic());
    }

    /** The watch ends, and a list takes its place. */
    function relist(watched: Watched): void {
      underWay[watched].clear();
      const names = [...(watched === 'requests' ? requests : pods).keys()];
      const store = stores[watched] as Store<never>;
      store.replace(names.map((name) => [`${namespace}/${name}`, read[watched](name) as never] as const));
    }

    const api = createScriptedApi();
    const pause = (ms: number) => new Promise<void>((resolve) => time.timer(resolve, ms));
    api.answer = async ({ method, path, body }) => {
      await pause(5);
      // The dead hear nothing any more.
      while (hasDied && !lives.signal.aborted) await once(lives.signal, 'abort');
      const [, kind = '', name = ''] = /\/(pods|podcertificaterequests)\/([^/]+)/.exec(path) ?? [];
      if (kind === 'pods') {
        const pod = pods.get(name);
        return pod ? { status: 200, body: pod } : { status: 404, body: notFound(name) };
      }
      if (kind === '') return { status: 201 };
      if (method === 'GET') {
        const request = requests.get(name);
        return request ? { status: 200, body: request } : { status: 404, body: notFound(name) };
      }
      const fate = controls.fates.shift() ?? 'through';
      const patch = JSON.parse(String(body));
      const chain = patch.status.certificateChain;
      sent.push({ self, uid: patch.metadata?.uid, chain, at: time.monotonic() });
      const apply = () => write(self, name, patch);
      if (fate === 'through') return apply();
      if (fate === 'lost') apply();
      if (fate === 'late') time.timer(apply, 1_000);
      if (fate === 'proxy') return { status: 200 };
      if (fate === 'overloaded') return { status: 429, retryAfterMs: 2_000 };
      if (fate === 'forbidden') return { status: 403 };
      throw new ApiConnectionError('broken', 'cut');
    };

    const holder = createPoolHolder({
      trustDomain: 'example.org',
      published: nothingPublished,
      rootPropagationSeconds: 0,
      onChange: () => undefined,
    });
    const { controller } = createParts({
      self,
      time: { ...time, now },
      transport: api.transport,
      ...stores,
      servedVersions: () => ['v1'],
      members: { members: () => controls.members, onChange: (listener) => void listeners.push(listener) },
      refusal: () => controls.refusal,
      signable: (seconds) => holder.signable(seconds),
      isPublished: () => controls.isPublished,
      clockProblem: () => controls.clockProblem,
      audit: (record) => void audits.push(record),
      onError: (error) => errors.push(error),
      maxOpenOfPod,
    });
    relist('pods');
    relist('requests');
    const running = controller.run(lives.signal);

    return {
      self,
      controls,
      controller,
      audits,
      stores,
      deliver,
      relist,
      isDead: () => hasDied,
      putPool: (secret: Secret) => holder.offer(secret, Math.floor(now() / 1000)),
      setMembers(members: readonly string[]) {
        if (String(members) === String(controls.members)) return;
        controls.members = members;
        for (const listener of listeners) listener();
      },
      die() {
        hasDied = true;
        underWay.requests.clear();
        underWay.pods.clear();
      },
      async stop() {
        lives.abort();
        await time.advance(5_000);
        await running;
      },
    };
  }

  const epoch = time.monotonic();
  function now(): number {
    return startsAt * 1000 + time.monotonic() - epoch;
  }

  /** Every replica learns whose Leases were renewed of late. */
  function learnMembers(): void {
    const members = replicas.filter((replica) => !forgotten.has(replica)).map(({ self }) => self);
    for (const replica of alive()) replica.setMembers(members.toSorted());
  }

  return {
    time,
    requests,
    pods,
    replicas,
    errors,
    sent,
    alive,
    learnMembers,
    start() {
      const replica = addReplica(`signer-${replicas.length}`);
      replica.putPool(currentPool);
      replicas.push(replica);
      learnMembers();
    },
    /** Ends a replica without a message. The others count it for a while. */
    crash(replica: ReturnType<typeof addReplica>) {
      replica.die();
      time.timer(() => {
        forgotten.add(replica);
        learnMembers();
      }, deadAfterMs);
    },
    putPool(pool: Secret) {
      currentPool = pool;
      for (const replica of alive()) replica.putPool(pool);
    },
    makePod(name: string) {
      const metadata = { name, namespace, uid: uid() };
      const pod = {
        metadata,
        spec: { nodeName: 'node-1', serviceAccountName: name },
        status: { phase: 'Running' },
      };
      pods.set(name, pod as Pod);
      changed('pods', name);
    },
    deletePod(name: string) {
      if (pods.delete(name)) changed('pods', name);
    },
    makeRequest(name: string, podName: string, isDenied = false) {
      const pod = pods.get(podName);
      if (!pod) return;
      const metadata = { name, namespace, uid: uid(), creationTimestamp: new Date(now()).toISOString() };
      const key = keys[made % keys.length];
      const spec = {
        signerName,
        podName,
        podUID: pod.metadata.uid ?? '',
        serviceAccountName: podName,
        serviceAccountUID: 'sa',
        nodeName: 'node-1',
        nodeUID: 'node',
        pkixPublicKey: Buffer.from(key ?? '').toString('base64'),
        ...(isDenied && { unverifiedUserAnnotations: { 'example.org/a': 'b' } }),
      };
      requests.set(name, { metadata, spec } as unknown as WireRequest);
      changed('requests', name);
    },
    deleteRequest(name: string) {
      if (requests.delete(name)) changed('requests', name);
    },
    async stop() {
      for (const replica of replicas) await replica.stop();
    },
  };
}

export type Simulation = ReturnType<typeof createSimulation>;

function notFound(name: string): object {
  return { kind: 'Status', reason: 'NotFound', message: 'not found', details: { name } };
}
