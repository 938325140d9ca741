import { EventEmitter } from 'node:events';
import { type FetchedBundle, type FetchOptions, fetchIfChanged } from '../../client/bundle-endpoint.ts';
import { parseSpiffeBundle } from '../../spiffe/bundle.ts';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { callListeners, type SourceEvents } from '../follow.ts';
import { readPodToken } from '../pod-proof.ts';
import type { BundleSource, TrustBundles } from '../trust-bundle.ts';
import type { X509Source } from '../x509-source.ts';
import { readBundleMap } from './bundle-map.ts';

/** Where a document says nothing else; SPIFFE Federation 5.1 has five minutes too. */
const refreshMs = 300_000;
const fewestMs = 30_000;
const mostMs = 3_600_000;
const retryMs = 5_000;
const timeoutMs = 15_000;
/** Longest answer that is read, in bytes: there may be a thousand trust domains. */
const maxBytes = 32 * 1024 * 1024;

/**
 * The JWT keys of the workload's own trust domain, which are not in the ClusterTrustBundle, and the bundles of the trust
 * domains that it is federated with, from the token endpoint. The workload proves itself, because its registration may say
 * which these are. The endpoint is verified by the own roots. When it cannot be reached, the last bundles stay in use.
 *
 * @param needs tokenFile: file of a ServiceAccount token. Without it, the certificate proves the workload, where the
 *   endpoint asks for one. @param signal ends it.
 */
export function followEndpointBundles(
  needs: {
    readonly endpoint: URL;
    readonly own: X509Source;
    readonly tokenFile: string | undefined;
    readonly env: FetchOptions['env'];
  },
  signal: AbortSignal,
): BundleSource {
  const { endpoint, own, tokenFile, env } = needs;
  const events = new EventEmitter<SourceEvents>();
  let known: TrustBundles = new Map();
  let etag: string | undefined;
  let hintSeconds: number | undefined;
  let leftOut = '';
  let reported = '';
  let timer: NodeJS.Timeout | undefined;

  /** Emits a problem once, until there is none or another one. */
  function report(problem: string): void {
    const isNews = problem !== '' && problem !== reported;
    reported = problem;
    if (!isNews) return;
    const error = new KubespiffeError('BUNDLE_UNREACHABLE', `${endpoint.host}: ${problem}`);
    callListeners(() => events.emit('problem', error));
  }

  /** @param proof of the workload; undefined for public documents. */
  async function fetchFrom(url: URL, proof: Proof | undefined): Promise<Result<FetchedBundle>> {
    const { trustDomain } = own.svid.id;
    const roots = own.bundles.get(trustDomain)?.roots ?? [];
    if (roots.length === 0) return failure(`there is no root of ${trustDomain} to verify it by`);
    const rootsPem = certificatesPem(roots);
    const profile = { name: 'https_web', rootsPem } as const;
    const known = proof && { ...proof, etag };
    return fetchIfChanged({
      ...{ url, profile, ...known, maxRedirects: 0, timeoutMs, maxBytes, env, signal },
    });
  }

  /** @returns after how many milliseconds to read again, or why there was nothing to read. */
  async function readAll(): Promise<Result<number>> {
    const proof = await proofOf(own, tokenFile);
    const fetched = proof.ok ? await fetchFrom(new URL('/bundles', endpoint), proof.value) : proof;
    if (!fetched.ok) return fetched;
    const { body } = fetched.value;
    if (!body) return success(intervalMs(hintSeconds));
    const map = readBundleMap(body, own.svid.id.trustDomain);
    if (!map.ok) return map;
    ({ etag } = fetched.value);
    hintSeconds = map.value.refreshHintSeconds;
    known = map.value.bundles;
    leftOut = map.value.leftOut.join('; ');
    callListeners(() => events.emit('update'));
    return success(intervalMs(hintSeconds));
  }

  /** A workload that is refused, perhaps for a moment, still verifies the tokens of its own trust domain. */
  async function readOwnKeys(): Promise<number> {
    const { trustDomain } = own.svid.id;
    const fetched = await fetchFrom(new URL('/bundle', endpoint), undefined);
    const bundle = fetched.ok ? parseSpiffeBundle(String(fetched.value.body)) : fetched;
    if (!bundle.ok) return retryMs;
    known = new Map([...known, [trustDomain, { roots: [], jwtKeys: bundle.value.jwtKeys }]]);
    etag = undefined;
    callListeners(() => events.emit('update'));
    return fewestMs;
  }

  async function read(): Promise<number> {
    const all = await readAll();
    if (signal.aborted) return retryMs;
    report(all.ok ? leftOut : all.reason);
    return all.ok ? all.value : readOwnKeys();
  }

  async function loop(): Promise<void> {
    let againMs = retryMs;
    try {
      againMs = await read();
    } finally {
      if (!signal.aborted) timer = setTimeout(() => void loop(), againMs).unref();
    }
  }
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  // Listeners come first.
  setImmediate(() => void loop());
  return {
    get bundles() {
      return known;
    },
    events,
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
    },
  };
}

const intervalMs = (hintSeconds: number | undefined): number =>
  Math.min(Math.max(hintSeconds === undefined ? refreshMs : hintSeconds * 1000, fewestMs), mostMs);

type Proof = Pick<FetchOptions, 'headers' | 'client'>;

async function proofOf({ svid }: X509Source, tokenFile: string | undefined): Promise<Result<Proof>> {
  if (tokenFile === undefined) {
    const key = String(svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return success({ client: { key, cert: svid.chainPem } });
  }
  try {
    return success({ headers: { authorization: `Bearer ${await readPodToken(tokenFile)}` } });
  } catch (error) {
    return failure(messageOf(error));
  }
}
