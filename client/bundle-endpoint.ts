import { getCACertificates } from 'node:tls';
import { maxBundleLength } from '../spiffe/bundle.ts';
import { checkLeaf } from '../spiffe/conformance.ts';
import { readCertificate } from '../spiffe/pki/certificate.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { type HttpsRequest, sendHttps } from './https.ts';

/** How an endpoint proves to be the right one (SPIFFE Federation 5.2). */
export type EndpointProfile =
  /** By a certificate for its host, from an issuer of the machine's trust store or one of these PEM roots. */
  | { readonly name: 'https_web'; readonly rootsPem?: string }
  /** By an X509-SVID with this ID that leads to these PEM roots. */
  | { readonly name: 'https_spiffe'; readonly endpointId: string; readonly rootsPem: string };

export interface FetchOptions {
  readonly url: URL;
  readonly profile: EndpointProfile;
  /** How many redirects are followed; each has to be an endpoint of the same profile. */
  readonly maxRedirects: number;
  readonly timeoutMs: number;
  readonly env: HttpsRequest['env'];
}

/** Why a URL is not one of a bundle endpoint (SPIFFE Federation 5.2.1), or undefined. */
export function endpointFault(url: URL): string | undefined {
  if (url.protocol !== 'https:') return 'the URL of an endpoint begins with https://';
  return url.username === '' && url.password === '' ? undefined : 'the URL of an endpoint names no user';
}

/** Gets the bundle from its endpoint. What it says is not looked at. Never throws. */
export async function fetchFromEndpoint(options: FetchOptions): Promise<Result<Buffer>> {
  const signal = AbortSignal.timeout(options.timeoutMs);
  const trust = trustOf(options.profile);
  const { env } = options;
  let { url } = options;
  for (let redirects = 0; ; redirects++) {
    const fault = endpointFault(url);
    if (fault !== undefined) return failure(fault);
    const headers = { accept: 'application/json' };
    const answer = await sendHttps({
      url,
      method: 'GET',
      headers,
      trust,
      env,
      signal,
      maxBytes: maxBundleLength,
    });
    if (!answer.ok) return answer;
    const { status, body } = answer.value;
    if (status === 200) return success(body);
    const { location } = answer.value.headers;
    if (status < 300 || status > 399 || location === undefined) {
      return failure(`${url.host} answered with status ${status}`);
    }
    if (redirects >= options.maxRedirects) {
      return failure(`${url.host} redirects, and ${options.maxRedirects} redirects are followed`);
    }
    if (!URL.canParse(location, url.href)) return failure(`${url.host} redirects to what is no URL`);
    url = new URL(location, url);
  }
}

/** Web servers are trusted by the roots of Node.js and of the machine, unless others are given. */
export function webTrust(rootsPem: string | undefined): HttpsRequest['trust'] {
  return { ca: rootsPem ?? [...getCACertificates('default'), ...getCACertificates('system')] };
}

/** OpenSSL verifies the chain for both; who may be at its end is what the profiles differ in. */
function trustOf(profile: EndpointProfile): HttpsRequest['trust'] {
  if (profile.name === 'https_web') return webTrust(profile.rootsPem);
  const { endpointId, rootsPem } = profile;
  return {
    ca: rootsPem,
    checkServerIdentity: (_host, { raw }) => {
      const fault = svidFault(raw, endpointId);
      return fault === undefined ? undefined : new Error(fault);
    },
  };
}

/** The certificate of the server is an X509-SVID with the configured ID (SPIFFE Federation 5.2.2). */
function svidFault(der: Uint8Array, endpointId: string): string | undefined {
  const facts = readCertificate(der);
  if (!facts.ok) return `its certificate cannot be read (${facts.reason})`;
  const broken = checkLeaf(facts.value).find(({ ok, level }) => !ok && level === 'must');
  if (broken) return `its certificate is no X509-SVID: ${broken.message} (${broken.clause})`;
  const [id] = facts.value.uris;
  return id === endpointId ? undefined : `it is ${id}, not ${endpointId}`;
}
