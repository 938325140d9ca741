import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { endpointProblem, maxBundleLength } from '../spiffe/bundle.ts';
import { checkLeaf } from '../spiffe/conformance.ts';
import { readCertificate } from '../spiffe/pki/certificate.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { type HttpsAnswer, type HttpsRequest, sendHttps } from './https.ts';

/** How an endpoint proves to be the right one (SPIFFE Federation 5.2). */
export type EndpointProfile =
  /** By a certificate for its host, from an issuer of the machine's trust store or one of these PEM roots. */
  | {
      readonly name: 'https_web';
      readonly rootsPem?: string;
      /** Made of these roots by webContext, for those who fetch often. */
      readonly secureContext?: SecureContext;
    }
  /** By an X509-SVID with this ID that leads to these PEM roots. */
  | { readonly name: 'https_spiffe'; readonly endpointId: string; readonly rootsPem: string };

export interface FetchOptions {
  readonly url: URL;
  readonly profile: EndpointProfile;
  /** How many redirects are followed; each has to be an endpoint of the same profile. */
  readonly maxRedirects: number;
  readonly timeoutMs: number;
  readonly env: HttpsRequest['env'];
  /** Whether redirects may not leave scheme, host and port of the URL. */
  readonly staysOnOrigin?: true;
  /** Longest bundle that is read, in bytes. */
  readonly maxBytes?: number;
  /** The ETag of the known bundle, so that it is not sent again. */
  readonly etag?: string | undefined;
  readonly lookup?: HttpsRequest['lookup'];
  /** Beside those that every fetch has. With redirects they are sent to each endpoint. */
  readonly headers?: HttpsRequest['headers'];
  readonly client?: HttpsRequest['client'];
  readonly signal?: AbortSignal;
}

export interface FetchedBundle {
  /** Undefined where the bundle is still the one of the ETag that was given. */
  readonly body: Buffer | undefined;
  readonly etag: string | undefined;
}

/** Gets the bundle from its endpoint. What it says is not looked at. Never throws. */
export async function fetchFromEndpoint(options: Omit<FetchOptions, 'etag'>): Promise<Result<Buffer>> {
  const fetched = await fetchIfChanged(options);
  return fetched.ok ? success(fetched.value.body ?? Buffer.alloc(0)) : fetched;
}

/** As fetchFromEndpoint, but the bundle of an ETag that is known is not fetched again (RFC 9110 13.1.2). Never throws. */
export async function fetchIfChanged(options: FetchOptions): Promise<Result<FetchedBundle>> {
  const { env, lookup, etag, maxBytes = maxBundleLength } = options;
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const trust = trustOf(options.profile);
  const { client } = options;
  const headers = {
    accept: 'application/json',
    ...options.headers,
    ...(etag !== undefined && { 'if-none-match': etag }),
  };
  let { url } = options;
  for (let redirects = 0; ; redirects++) {
    const problem = endpointProblem(url);
    if (problem !== undefined) return failure(problem);
    const answer = await sendHttps({
      ...{ url, method: 'GET', headers, trust, lookup, env, signal, maxBytes },
      ...(client && { client }),
    });
    if (!answer.ok) return answer;
    const { status, body } = answer.value;
    if (status === 200) return success({ body, etag: answer.value.headers.etag });
    if (status === 304 && etag !== undefined) return success({ body: undefined, etag });
    const next = redirectOf(url, answer.value, options, redirects);
    if (!next.ok) return next;
    url = next.value;
  }
}

function redirectOf(
  url: URL,
  { status, headers: { location } }: Pick<HttpsAnswer, 'status' | 'headers'>,
  { maxRedirects, staysOnOrigin }: Pick<FetchOptions, 'maxRedirects' | 'staysOnOrigin'>,
  redirects: number,
): Result<URL> {
  if (status < 300 || status > 399 || location === undefined) {
    return failure(`${url.host} answered with status ${status}`);
  }
  if (redirects >= maxRedirects) {
    return failure(`${url.host} redirects, and ${maxRedirects} redirects are followed`);
  }
  if (!URL.canParse(location, url.href))
    return failure(`${url.host} redirects to a location that is not a URL`);
  const next = new URL(location, url);
  return staysOnOrigin && next.origin !== url.origin
    ? failure(`${url.host} redirects to ${next.origin}; only redirects within one origin are followed`)
    : success(next);
}

/** Web servers are trusted by the roots of Node.js and of the machine, unless others are given. */
export function webTrust(rootsPem: string | undefined): HttpsRequest['trust'] {
  return { ca: rootsPem ?? [...getCACertificates('default'), ...getCACertificates('system')] };
}

/**
 * The default groups of Node.js without the hybrid with ML-KEM, which takes an eighth of the CPU of a fetch. The hybrid keeps
 * recorded traffic secret from later quantum computers, but bundles are public. The server's signature alone proves who it is.
 */
const groups = 'X25519:P-256:P-384:P-521';

/**
 * The trust of webTrust, made once, for fetches without credentials: reading hundreds of roots blocks the process for more
 * than 100 ms.
 */
export function webContext(rootsPem: string | undefined): SecureContext {
  return createSecureContext({ ca: webTrust(rootsPem).ca, minVersion: 'TLSv1.2', ecdhCurve: groups });
}

/** OpenSSL verifies the chain for both; who may be at its end is what the profiles differ in. */
function trustOf(profile: EndpointProfile): HttpsRequest['trust'] {
  if (profile.name === 'https_web') {
    const { rootsPem, secureContext } = profile;
    return secureContext ? { secureContext } : webTrust(rootsPem);
  }
  const { endpointId, rootsPem } = profile;
  return {
    ca: rootsPem,
    // The roots of a SPIFFE bundle are trust anchors, whether they are self-signed or not (X509-SVID 6.2).
    allowPartialTrustChain: true,
    checkServerIdentity: (_host, { raw }) => {
      const problem = svidProblem(raw, endpointId);
      return problem === undefined ? undefined : new Error(problem);
    },
  };
}

/** The certificate of the server is an X509-SVID with the configured ID (SPIFFE Federation 5.2.2). */
function svidProblem(der: Uint8Array, endpointId: string): string | undefined {
  const facts = readCertificate(der);
  if (!facts.ok) return `its certificate cannot be read (${facts.reason})`;
  const broken = checkLeaf(facts.value).find(({ ok, level }) => !ok && level === 'must');
  if (broken) return `its certificate is not an X509-SVID: ${broken.message} (${broken.clause})`;
  const [id] = facts.value.uris;
  return id === endpointId ? undefined : `it is ${id}, not ${endpointId}`;
}
