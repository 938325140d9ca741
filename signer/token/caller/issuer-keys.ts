import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { messageOf } from '../../../spiffe/errors.ts';
import { ApiStatusError } from '../../kube/api-error.ts';
import type { Time } from '../../kube/time.ts';
import type { Transport } from '../../kube/transport.ts';
import { createNews } from '../../observe/news.ts';
import { discoveryForbidden } from './api-server.ts';
import { createRecent } from './recent.ts';

export type IssuerKeys = ReturnType<typeof createIssuerKeys>;

interface IssuerKey {
  readonly key: KeyObject;
  /** The only algorithm that the key is for; undefined when the key set does not say. */
  readonly algorithm: string | undefined;
}

/** A withdrawn key stays known for this time. TokenReview refuses its tokens at once. */
const maxAgeMs = 300_000;
/** Minimum time between two fetches for key ids that the set does not have. */
const minIntervalMs = 10_000;
/** An id that was missing in a fetched set is not looked up again for this time. */
const unknownForMs = 60_000;
const maxKeys = 100;

/**
 * The keys that the API server signs ServiceAccount tokens with. Reads its key set through the connection to the API server, never from a URL in a document or in a
 * token. Fetches it when it is first needed, when it has grown old, and for an id that it does not have.
 */
export function createIssuerKeys(needs: {
  readonly transport: Transport;
  readonly time: Time;
  readonly log: { warn(fields: object, message: string): void };
}) {
  const { transport, log, time } = needs;
  const { monotonic } = time;
  const unknown = createRecent<true>({ lifetimeMs: unknownForMs, time });
  const isNews = createNews(time);
  let keys = new Map<string, IssuerKey>();
  let askedAt = Number.NEGATIVE_INFINITY;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<boolean> | undefined;

  /** @returns whether the set was read. */
  async function fetch(): Promise<boolean> {
    askedAt = monotonic();
    try {
      const answer = await transport.request<unknown>({
        method: 'GET',
        path: '/openid/v1/jwks',
        // The only type that the API server has for it.
        accept: 'application/jwk-set+json',
        resource: 'serviceaccount-keys',
        timeoutMs: 5_000,
      });
      keys = readKeys(answer.body);
      fetchedAt = monotonic();
      return true;
    } catch (error) {
      const isForbidden = error instanceof ApiStatusError && error.status === 403;
      const problem = isForbidden ? discoveryForbidden : messageOf(error);
      if (isNews(problem)) {
        const effect = 'the API server reviews tokens of unknown keys, at a limited rate';
        log.warn({ error: problem }, `the keys of ServiceAccount tokens could not be read: ${effect}`);
      }
      return false;
    }
  }

  /** One fetch at a time. Requests that come meanwhile wait for it. */
  function refresh(): Promise<boolean> {
    fetching ??= fetch().finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  return {
    /**
     * The key of this id. Undefined when the API server does not publish it or cannot be asked: keys of an external
     * signer may be left out of discovery, so the caller asks TokenReview then.
     */
    async find(keyId: string): Promise<IssuerKey | undefined> {
      const mayAsk = monotonic() - askedAt >= minIntervalMs;
      if (fetching || (mayAsk && monotonic() - fetchedAt >= maxAgeMs)) await refresh();
      const known = keys.get(keyId);
      if (known) return known;
      // Too early to fetch again. The key may be newer than the set, so the id is not remembered as unknown.
      if (unknown.get(keyId) || monotonic() - askedAt < minIntervalMs) return undefined;
      const isKnownNow = await refresh();
      const found = keys.get(keyId);
      if (!found && isKnownNow) unknown.set(keyId, true);
      return found;
    },
  };
}

/** The keys of a JWKS (RFC 7517 5) that can verify ServiceAccount tokens; others are skipped. */
function readKeys(document: unknown): Map<string, IssuerKey> {
  const list = (document as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(list)) throw new Error('the key set has no keys');
  const keys = new Map<string, IssuerKey>();
  for (const jwk of list.slice(0, maxKeys) as (Record<string, unknown> | null)[]) {
    const { kid, use, alg, kty } = jwk ?? {};
    if (typeof kid !== 'string' || (use !== undefined && use !== 'sig')) continue;
    if (kty !== 'RSA' && kty !== 'EC') continue;
    try {
      const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
      keys.set(kid, { key, algorithm: typeof alg === 'string' ? alg : undefined });
    } catch {
      // A curve or a form that OpenSSL does not know: its tokens are left to TokenReview.
    }
  }
  return keys;
}
