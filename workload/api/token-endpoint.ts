import { EventEmitter } from 'node:events';
import { fetchFromEndpoint } from '../../client/bundle-endpoint.ts';
import { parseSpiffeBundle } from '../../spiffe/bundle.ts';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { failure, type Result } from '../../spiffe/pki/result.ts';
import type { SourceEvents } from '../follow.ts';
import { createJwtSource, type JwtSource } from '../jwt-source.ts';
import type { BundleSource, TrustBundles } from '../trust-bundle.ts';
import type { X509Source } from '../x509-source.ts';

/** Where a document says nothing else; SPIFFE Federation 5.1 has five minutes too. */
const refreshMs = 300_000;
const fewestMs = 30_000;
const mostMs = 3_600_000;
const retryMs = 5_000;
const timeoutMs = 15_000;

/**
 * The JWT keys of the workload's own trust domain, from the token endpoint: the ClusterTrustBundle has its roots only. The
 * endpoint is verified by these roots. Until it has answered, and when it cannot be reached, what is known stays.
 *
 * @param needs own: the source of the roots. @param signal ends it.
 */
export function followEndpointBundle(
  needs: {
    readonly endpoint: URL;
    readonly own: BundleSource & { readonly svid: { readonly id: { readonly trustDomain: string } } };
    readonly env: Readonly<Record<string, string | undefined>>;
  },
  signal: AbortSignal,
): BundleSource {
  const { endpoint, own, env } = needs;
  const url = new URL('/bundle', endpoint);
  const events = new EventEmitter<SourceEvents>();
  let known: TrustBundles = new Map();
  let text: string | undefined;
  let reported: string | undefined;
  let timer: NodeJS.Timeout | undefined;

  async function read(): Promise<number> {
    const { trustDomain } = own.svid.id;
    const roots = own.bundles.get(trustDomain)?.roots ?? [];
    const rootsPem = roots.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
    const profile = { name: 'https_web', rootsPem } as const;
    const fetched: Result<Buffer> =
      roots.length === 0
        ? failure(`there is no root of ${trustDomain} to verify it by`)
        : await fetchFromEndpoint({ url, profile, maxRedirects: 0, timeoutMs, env, signal });
    if (signal.aborted) return retryMs;
    const bundle = fetched.ok ? parseSpiffeBundle(fetched.value.toString('utf8')) : fetched;
    if (!bundle.ok) {
      if (bundle.reason !== reported) {
        reported = bundle.reason;
        events.emit('problem', new KubespiffeError('BUNDLE_UNREACHABLE', `${url.href}: ${bundle.reason}`));
      }
      return retryMs;
    }
    reported = undefined;
    const next = fetched.ok ? fetched.value.toString('utf8') : '';
    if (next !== text) {
      text = next;
      known = new Map([[trustDomain, { roots: [], jwtKeys: bundle.value.jwtKeys }]]);
      events.emit('update');
    }
    const { refreshHintSeconds } = bundle.value;
    const wanted = refreshHintSeconds === undefined ? refreshMs : refreshHintSeconds * 1000;
    return Math.min(Math.max(wanted, fewestMs), mostMs);
  }

  async function loop(): Promise<void> {
    const again = await read();
    if (!signal.aborted) timer = setTimeout(() => void loop(), again).unref();
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

/**
 * The JWT-SVIDs of a credential, from the token endpoint.
 *
 * @param tokenFile file of a ServiceAccount token. Without it, the credential proves itself by its certificate.
 */
export function tokensFromEndpoint(
  source: X509Source,
  needs: {
    readonly endpoint: URL;
    readonly tokenFile: string | undefined;
    readonly env: Readonly<Record<string, string | undefined>>;
  },
): JwtSource {
  const { endpoint, tokenFile, env } = needs;
  const [path, credential] =
    tokenFile === undefined
      ? ['/jwt-svid', { source }]
      : ['/token', { tokenFile, bundles: source, trustDomain: source.svid.id.trustDomain }];
  return createJwtSource({ endpoint: new URL(path, endpoint), credential, env });
}
