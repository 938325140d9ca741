import { KubespiffeError } from '../spiffe/errors.ts';
import { parseJwt } from '../spiffe/jwt-svid.ts';
import { decodePem } from '../spiffe/pki/pem.ts';
import type { HttpsRequest } from './https.ts';
import { askEndpoint, strangeAnswer } from './token-endpoint.ts';

const jwtType = 'urn:ietf:params:oauth:token-type:jwt';

/** How a pod proves who it is: with its ServiceAccount token, or with the credential bundle that kubelet wrote, PEM. */
export type PodCredential = { readonly subjectToken: string } | { readonly credentialBundle: string };

export interface IssuedToken {
  /** A secret. */
  readonly token: string;
  /** The registration that gave the name in it, such as `shop/web`; undefined where it is the default name. */
  readonly registration?: string;
}

/**
 * Gets a JWT-SVID, as a pod does: by token exchange (RFC 8693 2.1), or in the short form with a client certificate.
 * @throws KubespiffeError TOKEN_REFUSED with what the endpoint says, in which is no token; USAGE for a bundle without a key.
 */
export async function getJwtSvid(wanted: {
  readonly url: URL;
  readonly credential: PodCredential;
  /** One or several. */
  readonly audience: string | readonly string[];
  readonly trust: HttpsRequest['trust'];
  readonly env: HttpsRequest['env'];
  readonly signal?: AbortSignal;
}): Promise<IssuedToken> {
  const { url, credential, audience, trust, env, signal } = wanted;
  const said = await askEndpoint({
    url,
    ...('subjectToken' in credential
      ? exchangeOf(credential.subjectToken, audience)
      : shortForm(credential.credentialBundle, audience)),
    trust,
    env,
    signal,
  });
  const { access_token: token, issued_token_type: type, registration } = said;
  if (typeof token !== 'string' || type !== jwtType || !parseJwt(token).ok) {
    throw strangeAnswer(url, 'did not answer with a JWT');
  }
  return { token, ...(typeof registration === 'string' && { registration }) };
}

type Asking = Pick<HttpsRequest, 'headers' | 'body' | 'client'>;

function exchangeOf(subjectToken: string, audience: string | readonly string[]): Asking {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subjectToken,
    subject_token_type: jwtType,
  });
  for (const each of [audience].flat()) form.append('audience', each);
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { headers, body: form.toString() };
}

function shortForm(credentialBundle: string, audience: string | readonly string[]): Asking {
  const blocks = decodePem(credentialBundle);
  const labels = new Set(blocks.ok ? blocks.value.map(({ label }) => label) : []);
  if (!labels.has('CERTIFICATE') || ![...labels].some((label) => label.endsWith('PRIVATE KEY'))) {
    const hint = 'give the file that kubelet writes to credentialBundlePath: private key and chain in one';
    throw new KubespiffeError('USAGE', 'the file holds no certificate with its private key', { hint });
  }
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ audience }),
    client: { key: credentialBundle, cert: credentialBundle },
  };
}
