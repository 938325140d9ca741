import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { getCACertificates } from 'node:tls';
import { messageOf } from '../../signer/errors.ts';
import { readCertificate } from '../../signer/pki/certificate.ts';
import { failure, type Result, success } from '../../signer/pki/result.ts';
import { maxBundleLength } from '../../signer/spiffe/bundle.ts';
import { checkLeaf } from '../../signer/spiffe/conformance.ts';

/** How an endpoint proves to be the right one (SPIFFE Federation 5.2). */
export type EndpointProfile =
  /** By a certificate for its host, from an issuer of the machine's trust store or one of these PEM roots. */
  | { readonly name: 'https_web'; readonly rootsPem?: string }
  /** By an X509-SVID with this ID that leads to these PEM roots. */
  | { readonly name: 'https_spiffe'; readonly endpointId: string; readonly rootsPem: string };

export interface FetchOptions {
  readonly url: URL;
  readonly profile: EndpointProfile;
  /** How many redirects are followed; each has to be an endpoint of the same profile (B6.12). */
  readonly maxRedirects: number;
  readonly timeoutMs: number;
}

/** Why a URL is not one of a bundle endpoint (SPIFFE Federation 5.2.1; B6.10), or undefined. */
export function endpointFault(url: URL): string | undefined {
  if (url.protocol !== 'https:') return 'the URL of a bundle endpoint begins with https://';
  return url.username === '' && url.password === ''
    ? undefined
    : 'the URL of a bundle endpoint names no user';
}

/** Gets the bundle from its endpoint. What it says is not looked at. Never throws. */
export async function fetchFromEndpoint(options: FetchOptions): Promise<Result<Buffer>> {
  const signal = AbortSignal.timeout(options.timeoutMs);
  let { url } = options;
  for (let redirects = 0; ; redirects++) {
    const fault = endpointFault(url);
    if (fault !== undefined) return failure(fault);
    try {
      const response = await get(url, options.profile, signal);
      const { statusCode = 0 } = response;
      const { location } = response.headers;
      if (statusCode === 200) return await bodyOf(response);
      response.destroy();
      if (statusCode < 300 || statusCode > 399 || location === undefined) {
        return failure(`${url.host} answered with status ${statusCode}`);
      }
      if (redirects >= options.maxRedirects) {
        return failure(`${url.host} redirects, and ${options.maxRedirects} redirects are followed`);
      }
      if (!URL.canParse(location, url.href)) return failure(`${url.host} redirects to what is no URL`);
      url = new URL(location, url);
    } catch (error) {
      return failure(
        signal.aborted ? `${url.host} did not answer in time` : `${url.host}: ${messageOf(error)}`,
      );
    }
  }
}

function get(url: URL, profile: EndpointProfile, signal: AbortSignal): Promise<IncomingMessage> {
  const options: RequestOptions = {
    ...trustOf(profile),
    signal,
    agent: false,
    minVersion: 'TLSv1.2',
    headers: { accept: 'application/json' },
  };
  return new Promise((resolve, reject) => {
    request(url, options).on('response', resolve).on('error', reject).end();
  });
}

/** OpenSSL verifies the chain for both; who may be at its end is what the profiles differ in. */
function trustOf(profile: EndpointProfile): RequestOptions {
  if (profile.name === 'https_web') {
    return { ca: profile.rootsPem ?? [...getCACertificates('default'), ...getCACertificates('system')] };
  }
  const { endpointId, rootsPem } = profile;
  return {
    ca: rootsPem,
    checkServerIdentity: (_host, { raw }) => {
      const fault = svidFault(raw, endpointId);
      return fault === undefined ? undefined : new Error(fault);
    },
  };
}

/** B6.13: the certificate of the server is an X509-SVID with the configured ID. */
function svidFault(der: Uint8Array, endpointId: string): string | undefined {
  const facts = readCertificate(der);
  if (!facts.ok) return `its certificate cannot be read (${facts.reason})`;
  const broken = checkLeaf(facts.value).find(({ ok, level }) => !ok && level === 'must');
  if (broken) return `its certificate is no X509-SVID: ${broken.message} (${broken.clause})`;
  const [id] = facts.value.uris;
  return id === endpointId ? undefined : `it is ${id}, not ${endpointId}`;
}

async function bodyOf(response: IncomingMessage): Promise<Result<Buffer>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    length += (chunk as Buffer).length;
    if (length > maxBundleLength) return failure(`the answer is longer than ${maxBundleLength} bytes`);
    chunks.push(chunk as Buffer);
  }
  return success(Buffer.concat(chunks));
}
