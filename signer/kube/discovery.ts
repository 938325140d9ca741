import { messageOf } from '../../spiffe/errors.ts';
import type { Log } from '../observe/log.ts';
import { createNews } from '../observe/news.ts';
import { isPlain404 } from './api-error.ts';
import { createRecheck } from './recheck.ts';
import { type ApiResource, groupPath } from './resources.ts';
import type { Time } from './time.ts';
import type { Transport } from './transport.ts';

/** What is known about one resource that an API server may not serve. */
export interface Availability<Version extends string = string> {
  /** The served versions, the preferred one first; undefined before the first successful discovery. */
  versions(): readonly Version[] | undefined;
  /** Whether the resource is known to be served in no version. */
  isMissing(): boolean;
  /**
   * Resolves with the versions as soon as there is one, with [] only when the signal is aborted.
   * @param onMissing is called after each discovery that finds none.
   */
  whenServed(signal: AbortSignal, onMissing?: () => void): Promise<readonly Version[]>;
}

export interface DiscoveryNeeds {
  readonly transport: Transport;
  readonly log: Log<'warn' | 'info'>;
  readonly time: Time;
}

/** While something is missing: a feature may be switched on, a CRD installed, an API server replaced. */
const missingPolicy = { baseMs: 500, maxMs: 15_000 };
/** While nothing is missing: an upgrade may bring a better version. */
const recheckMs = 300_000;

/**
 * Finds out in which versions resources are served. The resource list of a group version decides: a group
 * version can be served without the resource (--runtime-config names resources).
 */
export function createDiscovery(needs: DiscoveryNeeds) {
  const { transport, log } = needs;
  const isNews = createNews(needs.time);
  const resources: ApiResource[] = [];
  /** By `name.group`. */
  let served: Readonly<Record<string, readonly string[]>> = {};
  let isDoubtful = true;
  let looked = Promise.withResolvers<void>();

  async function look(signal: AbortSignal): Promise<void> {
    const found = await readServed(transport, resources, signal);
    const isNew = JSON.stringify(found) !== JSON.stringify(served);
    served = found;
    isDoubtful = false;
    if (isNew) log.info({ served }, 'API resources found');
  }

  const recheck = createRecheck({
    ...needs,
    retryPolicy: missingPolicy,
    intervalMs: recheckMs,
    async check(signal) {
      try {
        await look(signal);
      } catch (error) {
        const problem = messageOf(error);
        if (!signal.aborted && isNews(problem)) {
          log.warn({ error: problem }, 'cannot discover which resources the API server serves');
        }
      }
      looked.resolve();
      looked = Promise.withResolvers<void>();
      return !isDoubtful && Object.values(served).every((versions) => versions.length > 0);
    },
  });

  return {
    /** Includes a resource of any group in the next discovery. */
    find<Version extends string>(resource: ApiResource<Version>): Availability<Version> {
      const key = keyOf(resource);
      if (!resources.some((known) => keyOf(known) === key)) resources.push(resource);
      const versions = () => served[key] as readonly Version[] | undefined;
      return {
        versions,
        isMissing: () => versions()?.length === 0,
        async whenServed(signal, onMissing) {
          while (!signal.aborted) {
            const found = isDoubtful ? undefined : versions();
            if (found && found.length > 0) return found;
            if (found) onMissing?.();
            await untilEither(looked.promise, signal);
          }
          return [];
        },
      };
    },
    /** What was found may be out of date (a plain 404): discovers again soon. whenServed() waits for the result. */
    rediscover(): void {
      if (isDoubtful) return;
      isDoubtful = true;
      recheck.soon();
    },
    /** Repeats the discovery while a resource is missing or unknown, and every few minutes because of upgrades. */
    run: recheck.run,
  };
}

export type Discovery = ReturnType<typeof createDiscovery>;

function keyOf({ name, group }: ApiResource): string {
  return `${name}.${group}`;
}

/** @throws ApiStatusError (except for a group version that is not served), ApiConnectionError */
async function readServed(
  transport: Transport,
  resources: readonly ApiResource[],
  signal: AbortSignal,
): Promise<Record<string, readonly string[]>> {
  const places = resources.flatMap((each) => each.versions.map((version) => groupPath(each, version)));
  const names = new Map(
    await Promise.all(
      [...new Set(places)].map(
        async (path) => [path, await readResourceNames(transport, path, signal)] as const,
      ),
    ),
  );
  const isServed = (each: ApiResource, version: string) =>
    names.get(groupPath(each, version))?.has(each.name);
  return Object.fromEntries(
    resources.map((each) => [keyOf(each), each.versions.filter((version) => isServed(each, version))]),
  );
}

async function readResourceNames(
  transport: Transport,
  path: string,
  signal: AbortSignal,
): Promise<Set<string>> {
  try {
    const { body } = await transport.request<{ resources?: { name: string }[] }>({
      method: 'GET',
      path,
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
