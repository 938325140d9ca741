import { KubespiffeError, messageOf } from '../../../spiffe/errors.ts';
import type { OwnAudiences } from '../../../spiffe/infrastructure.ts';
import { audiencesOf, parseJwt } from '../../../spiffe/jwt-svid.ts';
import { ApiStatusError, isPlain404 } from '../../kube/api-error.ts';
import { pauseWith, type Time } from '../../kube/time.ts';
import type { Transport } from '../../kube/transport.ts';
import type { Logger } from '../../observe/log.ts';
import { createNews } from '../../observe/news.ts';

/** What the API server publishes about its own ServiceAccount tokens. The sets of `createIssuers` only grow. */
export interface ApiServerFacts {
  /** Whose tokens are taken: the issuer of discovery, and those that the administrator adds. */
  readonly issuers: ReadonlySet<string>;
  /** Why discovery names no issuer, and what to do; absent where it names one. */
  readonly withoutDiscovery?: string;
  /** The known audiences that the API server itself accepts. We never issue a token for one of them. */
  readonly audiences: ReadonlySet<string>;
}

export interface FactsNeeds {
  readonly transport: Transport;
  readonly authorization: () => Promise<string | undefined>;
  readonly furtherIssuers: readonly string[];
  readonly audiences: OwnAudiences;
}

/**
 * Reads issuer and audiences of the API server. Its audiences are nowhere to be read, but a token that was asked for
 * without naming any, such as the one that kubelet mounts for us, carries them all; and its issuer is one by default.
 *
 * @param needs authorization: our own credential for the API server, `Bearer …` or undefined.
 * @throws ApiStatusError, ApiConnectionError; KubespiffeError API_NOT_SERVED when no issuer is known, CONFIG_INVALID
 *   when an audience of ours is one of theirs.
 */
export async function readApiServerFacts(needs: FactsNeeds): Promise<ApiServerFacts> {
  const discovered = await discoverIssuer(needs.transport);
  const issuers = new Set([...('issuer' in discovered ? [discovered.issuer] : []), ...needs.furtherIssuers]);
  const withoutDiscovery = 'missing' in discovered ? discovered.missing : undefined;
  if (issuers.size === 0) {
    throw new KubespiffeError(
      'API_NOT_SERVED',
      `${withoutDiscovery}, or name the issuer in the setting serviceAccountIssuers`,
    );
  }
  const own = audiencesOfBearer(await needs.authorization());
  const audiences = new Set([...issuers, ...own]);
  for (const [setting, audience] of [
    ['tokenAudience', needs.audiences.token],
    ['x509Audience', needs.audiences.x509],
  ] as const) {
    if (!audiences.has(audience)) continue;
    throw new KubespiffeError(
      'CONFIG_INVALID',
      `${setting}: ${audience} is an audience of the API server itself, so a token for this endpoint ` +
        'would also work at the API server; choose another',
    );
  }
  return { issuers, audiences, ...(withoutDiscovery !== undefined && { withoutDiscovery }) };
}

/** Why the issuer, and the keys that verify its tokens, could not be read. */
export const discoveryForbidden =
  'the API server forbids the signer to read its issuer discovery; bind the ClusterRole ' +
  'system:service-account-issuer-discovery to its ServiceAccount, as manifests/token-endpoint does';

const retryMs = 1_000;

/**
 * The same, repeated until it succeeds.
 *
 * @param needs onWaiting: receives the reason why they are not known yet.
 * @returns undefined if the signal is aborted first. @throws KubespiffeError CONFIG_INVALID
 */
export async function learnApiServerFacts(
  needs: FactsNeeds & {
    readonly log: Pick<Logger, 'warn'>;
    readonly time: Time;
    readonly onWaiting: (reason: string) => void;
  },
  signal: AbortSignal,
): Promise<ApiServerFacts | undefined> {
  const isNews = createNews(needs.time);
  const pause = pauseWith(needs.time.timer);
  while (!signal.aborted) {
    try {
      const facts = await readApiServerFacts(needs);
      const { withoutDiscovery, issuers } = facts;
      if (withoutDiscovery !== undefined) {
        const only = 'only the issuers of the setting serviceAccountIssuers are accepted';
        needs.log.warn({ issuers: [...issuers] }, `${only}: ${withoutDiscovery}`);
      }
      return facts;
    } catch (error) {
      if (error instanceof KubespiffeError && error.code === 'CONFIG_INVALID') throw error;
      const problem = messageOf(error);
      if (isNews(problem))
        needs.log.warn({ error: problem }, 'the issuer of ServiceAccount tokens is not known yet');
      needs.onWaiting(`the issuer of ServiceAccount tokens is not known yet: ${problem}`);
      await pause(retryMs, signal);
    }
  }
  return undefined;
}

/**
 * The API server has a discovery document only where its issuer is an https URL. Who may read it is a matter of RBAC:
 * the built-in binding to all ServiceAccounts is removed in some clusters.
 */
async function discoverIssuer(transport: Transport): Promise<{ issuer: string } | { missing: string }> {
  try {
    const { body } = await transport.request<{ issuer?: unknown } | undefined>({
      method: 'GET',
      path: '/.well-known/openid-configuration',
      resource: 'serviceaccount-issuer',
      timeoutMs: 5_000,
    });
    return typeof body?.issuer === 'string' && body.issuer !== ''
      ? { issuer: body.issuer }
      : {
          missing:
            'the discovery document of the API server names no issuer; correct its --service-account-issuer',
        };
  } catch (error) {
    if (isPlain404(error)) {
      return {
        missing:
          'the API server publishes no issuer, as its --service-account-issuer is not an https URL; change that',
      };
    }
    if (error instanceof ApiStatusError && error.status === 403) return { missing: discoveryForbidden };
    throw error;
  }
}

function audiencesOfBearer(authorization: string | undefined): readonly string[] {
  const [, token] = /^Bearer (\S+)$/.exec(authorization ?? '') ?? [];
  const jwt = token === undefined ? undefined : parseJwt(token);
  return jwt?.ok ? (audiencesOf(jwt.value.claims) ?? []) : [];
}
