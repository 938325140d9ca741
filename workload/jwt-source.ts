import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import { getJwtSvid, type PodCredential } from '../client/jwt-svid.ts';
import { KubespiffeError, messageOf } from '../spiffe/errors.ts';
import { parseSpiffeId, type SpiffeId } from '../spiffe/id.ts';
import { checkJwtSvid } from '../spiffe/jwt-clauses.ts';
import { parseJwt } from '../spiffe/jwt-svid.ts';
import { encodePem } from '../spiffe/pki/pem.ts';
import type { SourceEvents } from './follow.ts';
import type { BundleSource } from './trust-bundle.ts';
import type { X509Source } from './x509-source.ts';

/** A JWT-SVID of this workload. */
export interface JwtSvid {
  /** A secret. */
  readonly token: string;
  readonly id: SpiffeId;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
}

/** Gives JWT-SVIDs of this workload. */
export interface JwtSource {
  /**
   * A token for one audience, or for several together: the one that is known until half of its life, then a new one. While no new one can be had, the
   * known one is given until it expires, and `problem` is emitted.
   *
   * @throws KubespiffeError TOKEN_REFUSED where no token can be had.
   */
  get(audience: string | readonly string[]): Promise<JwtSvid>;
  readonly events: EventEmitter<SourceEvents>;
}

/** How the workload proves who it is: by its certificate, or by a projected ServiceAccount token. */
export type JwtCredential =
  | { readonly source: X509Source }
  | {
      /** File of the ServiceAccount token, which kubelet renews. */
      readonly tokenFile: string;
      /** What verifies the endpoint, and the trust domain that it belongs to. */
      readonly bundles: BundleSource;
      readonly trustDomain: string;
    };

export interface JwtSourceOptions {
  /** URL of the token endpoint: its path is `/jwt-svid` for a certificate and `/token` for a ServiceAccount token. */
  readonly endpoint: string | URL;
  readonly credential: JwtCredential;
  /** Where HTTPS_PROXY and NO_PROXY are looked for. Default: no proxy. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The time, in milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

interface Known {
  readonly svid: JwtSvid;
  /** When a new one is asked for, in milliseconds since the epoch. */
  readonly renewAt: number;
}

const maxAudiences = 1_000;
/** After a failure, the endpoint is left in peace for this long where a known token still works. */
const retryMs = 5_000;

/**
 * Makes a source of JWT-SVIDs from the token endpoint. There is one request at a time for each audience.
 *
 * @example
 * ```js
 * import { createJwtSource } from 'kubespiffe/jwt-source';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const tokens = createJwtSource({
 *   endpoint: 'https://kubespiffe-tokens.kubespiffe.svc/jwt-svid',
 *   credential: { source },
 * });
 * tokens.events.on('problem', (problem) => console.error(problem.message));
 * const answer = await tokens.get('https://api.example.org').catch((error) => error);
 * console.log(answer.token ? 'there is a token' : answer.message);
 * ```
 */
export function createJwtSource({
  endpoint,
  credential,
  env = {},
  now = Date.now,
}: JwtSourceOptions): JwtSource {
  const url = new URL(endpoint);
  const events = new EventEmitter<SourceEvents>();
  const known = new Map<string, Known>();
  const asking = new Map<string, Promise<JwtSvid>>();

  const ask = async (audience: string | readonly string[], name: string): Promise<JwtSvid> => {
    const trust = { ca: rootsOf(credential) };
    const token = await getJwtSvid({ url, credential: await proofOf(credential), audience, trust, env });
    const svid = readAnswer(token, audience, now(), url);
    known.delete(name);
    known.set(name, { svid, renewAt: (now() + svid.expiresAt * 1000) / 2 });
    const [oldest] = known.keys();
    if (known.size > maxAudiences && oldest !== undefined) known.delete(oldest);
    return svid;
  };
  const renew = async (
    audience: string | readonly string[],
    name: string,
    last: Known | undefined,
  ): Promise<JwtSvid> => {
    try {
      return await ask(audience, name);
    } catch (error) {
      const problem =
        error instanceof KubespiffeError ? error : new KubespiffeError('TOKEN_REFUSED', messageOf(error));
      if (!last || now() >= last.svid.expiresAt * 1000) throw problem;
      known.set(name, { ...last, renewAt: now() + retryMs });
      events.emit('problem', problem);
      return last.svid;
    }
  };

  return {
    events,
    async get(audience) {
      const name = JSON.stringify([audience].flat());
      const last = known.get(name);
      if (last && now() < Math.min(last.renewAt, last.svid.expiresAt * 1000)) return last.svid;
      const open = asking.get(name);
      if (open) return open;
      const asked = renew(audience, name, last).finally(() => asking.delete(name));
      asking.set(name, asked);
      return asked;
    },
  };
}

/** The roots of the endpoint's own trust domain: a federated one must not stand in for it. */
function rootsOf(credential: JwtCredential): string[] {
  const [source, trustDomain] =
    'source' in credential
      ? [credential.source, credential.source.svid.id.trustDomain]
      : [credential.bundles, credential.trustDomain];
  const roots = source.bundles.get(trustDomain)?.roots ?? [];
  return roots.map(({ der }) => encodePem('CERTIFICATE', der));
}

async function proofOf(credential: JwtCredential): Promise<PodCredential> {
  if ('tokenFile' in credential) {
    const subjectToken = (await readFile(credential.tokenFile, 'utf8')).trim();
    // What is no token is not sent to anybody: it may be another file with a secret in it.
    if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(subjectToken)) return { subjectToken };
    throw new KubespiffeError('TOKEN_REFUSED', `${credential.tokenFile} holds no ServiceAccount token`);
  }
  const { privateKey, chainPem } = credential.source.svid;
  return { credentialBundle: `${privateKey.export({ type: 'pkcs8', format: 'pem' })}${chainPem}` };
}

function readAnswer(token: string, audiences: string | readonly string[], nowMs: number, url: URL): JwtSvid {
  const parsed = parseJwt(token);
  const [audience] = [audiences].flat();
  const broken = parsed.ok
    ? checkJwtSvid(parsed.value, { now: Math.floor(nowMs / 1000), audience }).find(
        ({ level, ok }) => level === 'must' && !ok,
      )?.message
    : parsed.reason;
  const id = parseSpiffeId(parsed.ok ? String(parsed.value.claims.sub) : '');
  if (!parsed.ok || broken !== undefined || !id.ok) {
    throw new KubespiffeError('TOKEN_REFUSED', `${url.host} answered with an unusable token: ${broken}`);
  }
  return { token, id: id.value, expiresAt: Number(parsed.value.claims.exp) };
}
