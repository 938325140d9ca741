import { messageOf } from '../../spiffe/errors.ts';
import { createNews } from '../observe/news.ts';
import { isPlain404 } from './api-error.ts';
import { createBackoff } from './backoff.ts';
import { pauseWith, type SetTimer, setTimer } from './timer.ts';
import type { Transport } from './transport.ts';
import { type CertificatesVersion, certificatesVersions } from './types.ts';

/** The resources that we need from certificates.k8s.io. */
export type CertificatesResource = 'podcertificaterequests' | 'clustertrustbundles';

/** In which versions each resource is served, the preferred one first; empty when in none. */
export type Served = Readonly<Record<CertificatesResource, readonly CertificatesVersion[]>>;

/** Whether a resource is known to be served in no version. */
export function isMissing(served: Served | undefined, resource: CertificatesResource): boolean {
  return served?.[resource].length === 0;
}

export interface Discovery {
  /** What was found last; undefined before the first look has succeeded. */
  served(): Served | undefined;
  /** Resolves with the versions of a resource as soon as there is one, with [] only when the signal is aborted. */
  whenServed(resource: CertificatesResource, signal: AbortSignal): Promise<readonly CertificatesVersion[]>;
  /** Says that what was found is doubtful (a plain 404): looks again soon. whenServed() waits for that look. */
  rediscover(): void;
  /** Calls the listener when what is served has changed. */
  onChange(listener: (served: Served) => void): void;
  /** Looks, again and again while something is missing or cannot be read, and now and then for upgrades. */
  run(signal: AbortSignal): Promise<void>;
}

export interface DiscoveryNeeds {
  readonly transport: Transport;
  readonly log: { warn(fields: object, message: string): void; info(fields: object, message: string): void };
  readonly monotonic?: () => number;
  readonly jitter?: () => number;
  readonly timer?: SetTimer;
}

/** While something is missing: a feature may be switched on, an API server replaced. */
const missingPolicy = { baseMs: 500, maxMs: 15_000 };
/** While all is there: an upgrade may bring a better version. */
const recheckMs = 300_000;

/**
 * Finds out in which versions PCRs and CTBs are served. The resource list decides, not the group version: a version
 * may be served for one of them only, as each has switches of its own (--runtime-config names resources).
 */
export function createDiscovery(needs: DiscoveryNeeds): Discovery {
  const { transport, log } = needs;
  const pause = pauseWith(needs.timer ?? setTimer);
  const jitter = needs.jitter ?? Math.random;
  const listeners: ((served: Served) => void)[] = [];
  let served: Served | undefined;
  let isDoubtful = true;
  let lookNow = new AbortController();
  let looked = Promise.withResolvers<void>();

  async function look(signal: AbortSignal): Promise<void> {
    const found = await readServed(transport, signal);
    const isNew = JSON.stringify(found) !== JSON.stringify(served);
    served = found;
    isDoubtful = false;
    if (isNew) {
      log.info({ served }, 'resources of certificates.k8s.io found');
      for (const listener of listeners) listener(found);
    }
  }

  function isComplete(): boolean {
    return !isDoubtful && Object.values(served ?? {}).every((versions) => versions.length > 0);
  }

  return {
    served: () => served,
    async whenServed(resource, signal) {
      while (!signal.aborted) {
        const versions = served?.[resource] ?? [];
        if (!isDoubtful && versions.length > 0) return versions;
        await untilEither(looked.promise, signal);
      }
      return [];
    },
    rediscover() {
      if (isDoubtful) return;
      isDoubtful = true;
      lookNow.abort();
    },
    onChange: (listener) => {
      listeners.push(listener);
    },
    async run(signal) {
      const backoff = createBackoff(missingPolicy, jitter);
      const isNews = createNews(needs.monotonic ?? (() => performance.now()));
      while (!signal.aborted) {
        lookNow = new AbortController();
        try {
          await look(signal);
        } catch (error) {
          const trouble = messageOf(error);
          if (!signal.aborted && isNews(trouble)) {
            log.warn({ error: trouble }, 'certificates.k8s.io cannot be discovered now');
          }
        }
        looked.resolve();
        looked = Promise.withResolvers<void>();
        if (isComplete()) backoff.reset();
        const waitMs = isComplete() ? recheckMs * (0.9 + 0.2 * jitter()) : backoff.next();
        await pause(waitMs, AbortSignal.any([signal, lookNow.signal]));
      }
    },
  };
}

/** @throws ApiStatusError (but for a version that is not served), ApiConnectionError */
async function readServed(transport: Transport, signal: AbortSignal): Promise<Served> {
  const served: Record<CertificatesResource, CertificatesVersion[]> = {
    podcertificaterequests: [],
    clustertrustbundles: [],
  };
  const found = await Promise.all(
    certificatesVersions.map((version) => readResourceNames(transport, version, signal)),
  );
  for (const [position, version] of certificatesVersions.entries()) {
    for (const resource of ['podcertificaterequests', 'clustertrustbundles'] as const) {
      if (found[position]?.has(resource)) served[resource].push(version);
    }
  }
  return served;
}

async function readResourceNames(
  transport: Transport,
  version: CertificatesVersion,
  signal: AbortSignal,
): Promise<Set<string>> {
  try {
    const { body } = await transport.request<{ resources?: { name: string }[] }>({
      method: 'GET',
      path: `/apis/certificates.k8s.io/${version}`,
      resource: 'discovery',
      signal,
    });
    return new Set((body.resources ?? []).map(({ name }) => name));
  } catch (error) {
    if (isPlain404(error)) return new Set();
    throw error;
  }
}

async function untilEither(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const stop = () => aborted.resolve();
  signal.addEventListener('abort', stop, { once: true });
  await Promise.race([promise, aborted.promise]);
  signal.removeEventListener('abort', stop);
}
