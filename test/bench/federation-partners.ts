import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { aPool } from '../contract/installation.ts';

/**
 * From 150 s to 430 s, so that bundles which are taken together first are not due together again. Of 1,000, some 200 are fetched in
 * each minute from 150 s to 300 s after that, as with 300 s for all once those have spread out: 300 s less 2.5 % of jitter, and
 * less the few seconds by which some are fetched together with others.
 */
const hintSeconds = (index: number, count: number) => 150 + Math.floor((280 * index) / count);

export const partnerName = (index: number) => `partner-${index}.example`;

/** What an endpoint has seen of fetches after the first one of each bundle. Milliseconds. */
export interface Punctuality {
  readonly fetches: number;
  /** How long after the end of its refresh hint the latest one came; 0 where none came after it. */
  readonly latestMs: number;
}

/** One endpoint with the bundles of many trust domains. It notes when each is fetched. */
export async function startPartners(count: number) {
  const credentials = await webCredentials();
  const documents: (Uint8Array | undefined)[] = [];
  const serve = (pool: Pool, index: number) => {
    documents[index] = spiffeBundleDocument(pool, hintSeconds(index, count))?.bytes;
  };
  for (let index = 0; index < count; index += 1) serve(await poolOf(index), index);
  /** When each bundle that was fetched is due again, in milliseconds. */
  const due = new Map<number, number>();
  let punctuality: Punctuality = { fetches: 0, latestMs: 0 };
  let onServed: (index: number) => void = () => undefined;

  const late = (dueAt: number, now: number) => Math.max(punctuality.latestMs, now - dueAt);
  const server = createServer(credentials, ({ url = '' }, response) => {
    const index = Number(url.slice(1));
    const dueAt = due.get(index);
    const now = performance.now();
    if (dueAt !== undefined) punctuality = { fetches: punctuality.fetches + 1, latestMs: late(dueAt, now) };
    due.set(index, now + hintSeconds(index, count) * 1000);
    response.end(documents[index]);
    onServed(index);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    resourceFor: (index: number) => ({
      apiVersion: 'kubespiffe.io/v1alpha1',
      kind: 'FederatedTrustDomain',
      metadata: { name: `partner-${index}` },
      spec: {
        trustDomain: partnerName(index),
        bundleEndpoint: {
          ...{ url: `https://127.0.0.1:${port}/${index}`, profile: 'https_web' },
          caBundle: credentials.cert,
        },
      },
    }),
    /** Forgets what was fetched so far. */
    reset: () => due.clear(),
    /** Counts fetches from now on. What is overdue by then, since all were taken at once, is due now. */
    startCounting(): void {
      punctuality = { fetches: 0, latestMs: 0 };
      const now = performance.now();
      for (const [index, dueAt] of due) due.set(index, Math.max(dueAt, now));
    },
    /** Bundles that are overdue now count too. */
    punctuality(): Punctuality {
      const now = performance.now();
      for (const dueAt of due.values()) punctuality = { ...punctuality, latestMs: late(dueAt, now) };
      return punctuality;
    },
    /** Gives a trust domain another CA, once. `served` resolves with the time at which that was fetched. */
    async change(index: number): Promise<{ rootPem: string; served: Promise<number> }> {
      const pool = await poolOf(index, 2);
      serve(pool, index);
      const { promise: served, resolve } = Promise.withResolvers<number>();
      onServed = (which) => {
        if (which === index) resolve(performance.now());
      };
      return { rootPem: pool.roots.map(({ der }) => encodePem('CERTIFICATE', der)).join(''), served };
    },
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

export type Partners = Awaited<ReturnType<typeof startPartners>>;

async function poolOf(index: number, sequence = 1): Promise<Pool> {
  const trustDomain = partnerName(index);
  const compiled = compilePool({ ...(await aPool({ trustDomain })), sequence }, trustDomain);
  if (!compiled.ok) throw new Error(`there is no pool of ${trustDomain}: ${compiled.problem.message}`);
  return compiled.pool;
}
