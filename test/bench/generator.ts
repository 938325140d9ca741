import { asNode } from '../cluster/admin.ts';
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import type { ApiClient, Watch } from './api-client.ts';
import { type Place, signerName as spiffeName } from './place.ts';
import { podObject } from './pod.ts';

const certificates = '/apis/certificates.k8s.io/v1';

/** A request of the load, and what became of it. Times: milliseconds of epochMs(). */
export interface LoadRequest {
  readonly name: string;
  readonly signerName: string;
  /** SubjectPublicKeyInfo, DER, base64. */
  readonly spki: string;
  readonly body: string;
  uid: string;
  /** When the creation was sent, and when the API server had confirmed it. */
  sentAt: number;
  createdAt: number;
  /** When a watch showed the terminal condition; 0 before that. */
  answeredAt: number;
}

export interface LoadGenerator {
  /** Creates pods that are bound to the node, `writers` at a time. Each is a few kilobytes, as real ones are. */
  createPods(count: number, writers: number): Promise<void>;
  /**
   * Makes requests ready to be sent, for the pods in turn. Each has a key of its own and a signature that the API
   * server verifies; both are made here, so that creating costs the generator next to nothing.
   */
  prepare(count: number, signerName?: string): LoadRequest[];
  create(request: LoadRequest): Promise<void>;
  watchAnswers(requests: readonly LoadRequest[]): Promise<AnswerWatch>;
  deleteRequests(): Promise<void>;
}

/** A watch for the answers to some requests. */
export interface AnswerWatch {
  /** Resolves when each request has its answer. */
  readonly done: Promise<void>;
  /** How often the API server ended the watch because we were too slow: the latencies then say less. */
  readonly resumed: number;
  stop(): void;
}

export function createGenerator(api: ApiClient, place: Place): LoadGenerator {
  const { namespace, serviceAccount, node } = place;
  const requestsPath = `${certificates}/namespaces/${namespace}/podcertificaterequests`;
  const pods: { name: string; uid: string }[] = [];
  let prepared = 0;

  async function send(method: string, path: string, body?: string): Promise<string> {
    const answer = await api.send(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return answer.body;
  }

  async function createPod(index: number): Promise<void> {
    const name = `pod-${String(index).padStart(5, '0')}`;
    const body = JSON.stringify(podObject(name, place));
    const created = JSON.parse(await send('POST', `/api/v1/namespaces/${namespace}/pods`, body));
    pods.push({ name, uid: created.metadata.uid });
  }

  function prepareOne(signerName: string): LoadRequest {
    const pod = pods[prepared % pods.length];
    if (!pod) throw new Error('a request needs a pod');
    prepared += 1;
    const name = `req-${String(prepared).padStart(6, '0')}`;
    const key = makeKey('ECDSA P-256');
    const body = JSON.stringify({
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'PodCertificateRequest',
      metadata: {
        name,
        ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
      },
      spec: {
        signerName,
        podName: pod.name,
        podUID: pod.uid,
        serviceAccountName: serviceAccount.name,
        serviceAccountUID: serviceAccount.uid,
        nodeName: node.name,
        nodeUID: node.uid,
        maxExpirationSeconds: 86_400,
        stubPKCS10Request: stubRequest(key).toString('base64'),
      },
    });
    return {
      name,
      signerName,
      spki: key.spki.toString('base64'),
      body,
      uid: '',
      sentAt: 0,
      createdAt: 0,
      answeredAt: 0,
    };
  }

  async function create(request: LoadRequest): Promise<void> {
    const answer = await api.send('POST', requestsPath, request.body, { headers: asNode });
    if (answer.status !== 201) throw new Error(`POST ${requestsPath}: ${answer.status} ${answer.body}`);
    request.sentAt = answer.sentAt;
    request.createdAt = answer.answeredAt;
    request.uid = JSON.parse(answer.body).metadata.uid;
  }

  async function watchAnswers(requests: readonly LoadRequest[]): Promise<AnswerWatch> {
    const open = new Map(requests.map((request) => [request.name, request]));
    const { promise: done, resolve: allSeen } = Promise.withResolvers<void>();
    const list = JSON.parse(await send('GET', `${requestsPath}?limit=1`));
    let from: string = list.metadata.resourceVersion;
    let watch: Watch | undefined;
    let isStopped = false;

    function see(line: string, at: number): void {
      const { type, object } = JSON.parse(line);
      if (type === 'ERROR') throw new Error(`the watch of the load ended: ${line}`);
      from = object.metadata.resourceVersion;
      const request = object.status?.conditions && open.get(object.metadata.name);
      if (!request) return;
      request.answeredAt = at;
      open.delete(request.name);
      if (open.size === 0) allSeen();
    }

    async function follow(): Promise<void> {
      const query = `watch=true&resourceVersion=${from}&fieldSelector=spec.signerName%3D${requests[0]?.signerName ?? spiffeName}`;
      watch = await api.watch(`${requestsPath}?${query}`, see);
      void watch.ended.then(() => {
        if (isStopped) return;
        answers.resumed += 1;
        return follow();
      });
    }

    const answers = {
      done,
      resumed: 0,
      stop: () => {
        isStopped = true;
        watch?.stop();
      },
    };
    await follow();
    return answers;
  }

  return {
    createPods: async (count, writers) => {
      const first = pods.length;
      await inParallel(range(first, first + count), writers, createPod);
    },
    prepare: (count, signerName = spiffeName) => Array.from({ length: count }, () => prepareOne(signerName)),
    create,
    watchAnswers,
    deleteRequests: async () => {
      await send('DELETE', requestsPath);
    },
  };
}

/** Does `work` for each item, so many at a time. */
export async function inParallel<T>(
  items: Iterable<T>,
  workers: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: workers }, worker));
}

function* range(from: number, to: number): Generator<number> {
  for (let index = from; index < to; index += 1) yield index;
}
