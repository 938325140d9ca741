// The load generator: a process of its own, so that its CPU is not counted with the signer's and a busy bench does
// not delay its clock. It makes what kubelets make, and sees by a watch of its own when each request is answered.
import { join } from 'node:path';
import { epochMs, openApi } from './api-client.ts';
import type { CeilingCalls } from './ceiling.ts';
import {
  type AnswerWatch,
  createGenerator,
  inParallel,
  type LoadGenerator,
  type LoadRequest,
} from './generator.ts';
import type { Place } from './place.ts';
import { serveCalls, startWorker, type Worker } from './worker.ts';

/** What a run of the load measured. Times in milliseconds, `endedAt` of epochMs(). */
export interface LoadResult {
  readonly count: number;
  /** From the first thing that was measured to the last answer. */
  readonly tookMs: number;
  readonly endedAt: number;
  /** From the confirmed creation of each request to its answer in our watch. */
  readonly latencies: readonly number[];
  /** From sending the creation to the answer in our watch: what a kubelet would see. */
  readonly latenciesFromSending: readonly number[];
  /** Ceiling runs only: how long each status write took. */
  readonly writes: readonly number[];
  /** How often our watch had to be resumed. */
  readonly resumed: number;
}

const writers = 32;
/** A run that takes longer than that is broken, not slow. */
const longestRunMs = 180_000;

let generator: LoadGenerator | undefined;
let ceiling: Worker<CeilingCalls> | undefined;
let place: Place | undefined;
let requests: LoadRequest[] = [];
let answered: AnswerWatch | undefined;
let usesCeiling = false;

function opened(): LoadGenerator {
  if (!generator) throw new Error('the load generator is not open');
  return generator;
}

async function createOne(request: LoadRequest): Promise<void> {
  await opened().create(request);
  if (usesCeiling) ceiling?.tell('answer', { name: request.name, uid: request.uid });
}

async function allAnswered(startedAt: number): Promise<LoadResult> {
  const late = setTimeout(() => {
    const open = requests.filter(({ answeredAt }) => answeredAt === 0).length;
    throw new Error(`${open} of ${requests.length} requests have no answer after ${longestRunMs / 1000} s`);
  }, longestRunMs);
  await answered?.done;
  clearTimeout(late);
  answered?.stop();
  const endedAt = Math.max(...requests.map(({ answeredAt }) => answeredAt));
  return {
    count: requests.length,
    tookMs: endedAt - startedAt,
    endedAt,
    latencies: requests.map(({ createdAt, answeredAt }) => answeredAt - createdAt),
    latenciesFromSending: requests.map(({ sentAt, answeredAt }) => answeredAt - sentAt),
    writes: usesCeiling && ceiling ? await ceiling.call('finish', undefined) : [],
    resumed: answered?.resumed ?? 0,
  };
}

/** Sends at fixed points in time, whether or not the earlier ones are done: an overload must show as latency. */
function atRate(perSecond: number): Promise<void> {
  const startedAt = epochMs();
  const failures: Promise<void>[] = [];
  let next = 0;
  return new Promise((resolve, reject) => {
    const tick = () => {
      const due = Math.min(requests.length, 1 + Math.floor(((epochMs() - startedAt) / 1000) * perSecond));
      for (; next < due; next += 1) {
        const request = requests[next];
        if (request) failures.push(createOne(request));
      }
      if (next < requests.length)
        setTimeout(tick, Math.max(0, startedAt + (next * 1000) / perSecond - epochMs()));
      else Promise.all(failures).then(() => resolve(), reject);
    };
    tick();
  });
}

const calls = {
  open: async (options: { kubeconfig: string; signerKubeconfig: string; place: Place }) => {
    place = options.place;
    generator = createGenerator(await openApi(options.kubeconfig), options.place);
    ceiling = startWorker<CeilingCalls>(join(import.meta.dirname, 'ceiling.ts'));
    await ceiling.call('open', { kubeconfig: options.signerKubeconfig });
  },
  createPods: ({ count }: { count: number }) => opened().createPods(count, writers),
  deleteRequests: (_: undefined) => opened().deleteRequests(),
  /** Everything that may be done before the measuring starts. */
  prepare: async (options: { count: number; ceiling: boolean; signerName?: string }) => {
    usesCeiling = options.ceiling;
    requests = opened().prepare(options.count, options.signerName);
    if (usesCeiling && ceiling && place) {
      const { namespace, serviceAccount } = place;
      const foreseen = requests.map(({ name, spki }) => ({
        namespace,
        name,
        serviceAccount: serviceAccount.name,
        spki,
      }));
      await ceiling.call('prepare', foreseen);
    }
    answered = await opened().watchAnswers(requests);
  },
  /** Creates all requests by parallel writers; measured from the first creation. */
  burst: async (_: undefined): Promise<LoadResult> => {
    const startedAt = epochMs();
    await inParallel(requests, writers, createOne);
    return allAnswered(startedAt);
  },
  steady: async ({ perSecond }: { perSecond: number }): Promise<LoadResult> => {
    const startedAt = epochMs();
    await atRate(perSecond);
    return allAnswered(startedAt);
  },
  /** Creates all requests, and lets them wait. */
  createBacklog: (_: undefined) => inParallel(requests, writers, (request) => opened().create(request)),
  /** Waits for the answers to the backlog. In a ceiling run the answering starts now. */
  workOffBacklog: async ({ startedAt }: { startedAt?: number }): Promise<LoadResult> => {
    const from = startedAt ?? epochMs();
    if (usesCeiling) for (const { name, uid } of requests) ceiling?.tell('answer', { name, uid });
    return allAnswered(from);
  },
};
export type LoadCalls = typeof calls;

serveCalls(calls);
