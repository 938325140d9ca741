// The load on the token endpoint: a process of its own with 32 connections that stay open, each with one request
// under way. The API server's own TokenReviews are measured by the same means.
import { makeKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { type Access, type ApiClient, openApi, readAccess } from './api-client.ts';
import type { Place } from './place.ts';
import { percentile } from './statistics.ts';
import { openConnection, type Target } from './token-client.ts';
import { createOwners, makeTokens, type TokenOwner } from './token-owners.ts';
import {
  bundleRequest,
  certificateRequest,
  exchangeOf,
  type PreparedRequest,
  reviewOf,
  shortFormRequest,
} from './token-requests.ts';
import { serveCalls } from './worker.ts';

/** What a run of the load measured; times in milliseconds. */
export interface TokenLoadResult {
  readonly count: number;
  readonly tookMs: number;
  readonly p50: number;
  readonly p99: number;
}

export interface TokenLoadOptions {
  readonly kubeconfig: string;
  /** The kubeconfig of the signer, with whose RBAC tokens are reviewed. */
  readonly signerKubeconfig: string;
  readonly place: Place;
  readonly endpoint: Target;
  /** Audiences of the ServiceAccount tokens: of those for JWT-SVIDs, and of those for certificates. */
  readonly audience: string;
  readonly x509Audience: string;
  /** How many pods own the tokens. */
  readonly pods: number;
}

const connections = 32;
/** As many tokens are used again and again. */
const fewTokens = 8;

interface Opened extends TokenLoadOptions {
  readonly api: ApiClient;
  readonly signer: Access;
  readonly owners: readonly TokenOwner[];
}
let opened: Opened | undefined;
/** Tokens that nobody has seen yet. */
let fresh: string[] = [];
let few: string[] = [];

function load(): Opened {
  if (!opened) throw new Error('the load on the token endpoint is not open');
  return opened;
}

function newTokens(count: number, audience = load().audience): Promise<string[]> {
  const { api, place, owners } = load();
  return makeTokens(api, place, { owners, audience, count });
}

function takeFresh(): string[] {
  const taken = fresh;
  fresh = [];
  return taken;
}

/** Sends the requests over the connections, each of which takes the next one as soon as it has its answer. */
async function send(
  to: Target | readonly Target[],
  requests: Iterable<PreparedRequest>,
): Promise<TokenLoadResult> {
  const targets = [to].flat();
  const open = await Promise.all(
    Array.from({ length: connections }, (_, index) =>
      openConnection(targets[index % targets.length] as Target),
    ),
  );
  const latencies: number[] = [];
  const rest = requests[Symbol.iterator]();
  const startedAt = performance.now();
  await Promise.all(
    open.map(async (connection) => {
      for (let next = rest.next(); !next.done; next = rest.next()) {
        const { bytes, status, holds } = next.value;
        const sentAt = performance.now();
        const answer = await connection.exchange(bytes);
        latencies.push(performance.now() - sentAt);
        if (answer.status !== status || !answer.body.includes(holds)) {
          throw new Error(`an unexpected answer: ${answer.status} ${answer.body.slice(0, 300)}`);
        }
      }
    }),
  );
  const tookMs = performance.now() - startedAt;
  for (const connection of open) connection.close();
  return {
    count: latencies.length,
    tookMs,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
}

/** The requests in turn until the time is over; `requests` is asked for them anew after each turn. */
function* during(seconds: number, requests: () => readonly PreparedRequest[]): Generator<PreparedRequest> {
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    for (const request of requests()) {
      if (performance.now() >= until) return;
      yield request;
    }
  }
}

function sendDuring(seconds: number, requests: readonly PreparedRequest[]): Promise<TokenLoadResult> {
  return send(
    load().endpoint,
    during(seconds, () => requests),
  );
}

const calls = {
  open: async (options: TokenLoadOptions) => {
    const api = await openApi(options.kubeconfig);
    const signer = await readAccess(options.signerKubeconfig);
    const owners = await createOwners(api, options.place, options.pods);
    opened = { ...options, api, signer, owners };
    few = await newTokens(fewTokens);
  },
  /** Tokens for the next firstUse or reviews, or for the next x509Svids. */
  makeTokens: async ({ count, forX509 = false }: { count: number; forX509?: boolean }) => {
    fresh = await newTokens(count, forX509 ? load().x509Audience : load().audience);
  },
  /** A few tokens, used again and again. */
  repeated: ({ seconds }: { seconds: number }) => sendDuring(seconds, few.map(exchangeOf)),
  /** Each token made before is used once. */
  firstUse: (_: undefined) => send(load().endpoint, takeFresh().map(exchangeOf)),
  /** Each token made before gets a certificate; a few keys have to do, as each request is verified anyhow. */
  x509Svids: (_: undefined) => {
    const requests = Array.from({ length: fewTokens }, () => stubRequest(makeKey('ECDSA P-256')));
    const prepared = takeFresh().map((token, index) =>
      certificateRequest(token, requests[index % fewTokens] as Buffer),
    );
    return send(load().endpoint, prepared);
  },
  /** Each token made before is reviewed once, by the API server itself. */
  reviews: (_: undefined) => {
    const { signer, audience } = load();
    const { hostname, port } = new URL(signer.server);
    const target = { host: hostname, port: Number(port), ca: signer.ca.toString() };
    const prepared = takeFresh().map((token) => reviewOf(token, audience, `Bearer ${signer.token}`));
    return send(target, prepared);
  },
  /** A few of the pods that own the tokens. */
  owners: (_: undefined) => load().owners.slice(0, fewTokens),
  /** No tokens: each connection shows the certificate of its target. */
  certificates: ({ seconds, targets }: { seconds: number; targets: readonly Target[] }) =>
    send(
      targets,
      during(seconds, () => [shortFormRequest()]),
    ),
  bundle: ({ seconds }: { seconds: number }) => sendDuring(seconds, [bundleRequest()]),
  /** A few tokens that are replaced by others every second, and now and then the bundle. */
  mixed: async ({ seconds }: { seconds: number }): Promise<TokenLoadResult> => {
    let requests = few.map(exchangeOf);
    const renewal = setInterval(async () => {
      requests = [...(await newTokens(fewTokens)).map(exchangeOf), bundleRequest()];
    }, 1_000);
    try {
      return await send(
        load().endpoint,
        during(seconds, () => requests),
      );
    } finally {
      clearInterval(renewal);
    }
  },
};
export type TokenLoadCalls = typeof calls;

serveCalls(calls);
