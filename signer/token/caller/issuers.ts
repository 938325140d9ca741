import { messageOf } from '../../../spiffe/errors.ts';
import type { Time } from '../../kube/time.ts';
import { createNews } from '../../observe/news.ts';
import { type ApiServerFacts, type FactsNeeds, readApiServerFacts } from './api-server.ts';

/** The issuers of ServiceAccount tokens of this cluster, which may get another one while we run. */
export interface Issuers {
  /** Whose tokens are accepted now. */
  readonly known: ReadonlySet<string>;
  /** Asks the API server again, unless that was done a moment ago. @returns whether it has a new issuer. */
  refresh(): Promise<boolean>;
}

/** Minimum time between two questions to the API server: any client may send a token of another cluster. */
const minIntervalMs = 10_000;

/**
 * Learns a new issuer from the API server only: when its `--service-account-issuer` changes, its discovery
 * document names the new one, and kubelet soon has such tokens. The audiences of the API server change with it, so they
 * are read and compared with ours as at the start. An issuer that was known stays so: its tokens are in use until they
 * expire, and their TokenReview decides whether they are accepted.
 *
 * @param facts what was read at the start; `audiences` grows together with `issuers`.
 */
export function createIssuers(
  needs: FactsNeeds & {
    readonly facts: ApiServerFacts;
    readonly time: Time;
    readonly log: {
      info(fields: object, message: string): void;
      warn(fields: object, message: string): void;
    };
  },
): Issuers & Pick<ApiServerFacts, 'audiences'> {
  const { log } = needs;
  const { monotonic } = needs.time;
  const known = new Set(needs.facts.issuers);
  const audiences = new Set(needs.facts.audiences);
  const isNews = createNews(needs.time);
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<boolean> | undefined;

  async function ask(): Promise<boolean> {
    askedAt = monotonic();
    try {
      const facts = await readApiServerFacts(needs);
      const added = [...facts.issuers].filter((issuer) => !known.has(issuer));
      for (const issuer of added) known.add(issuer);
      for (const audience of facts.audiences) audiences.add(audience);
      if (added.length > 0) log.info({ issuers: added }, 'the API server has another issuer now');
      return added.length > 0;
    } catch (error) {
      // Also if the new issuer is one of our audiences: its tokens are refused, as the signer would not start with it.
      const problem = messageOf(error);
      if (isNews(problem))
        log.warn({ error: problem }, 'a new issuer of ServiceAccount tokens is not accepted');
      return false;
    }
  }

  return {
    known,
    audiences,
    async refresh() {
      if (!asking && monotonic() - askedAt < minIntervalMs) return false;
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      return asking;
    },
  };
}
