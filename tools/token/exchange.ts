import { decodePem } from '../../signer/pki/pem.ts';
import { isJsonObject, type JsonObject, parseJsonBytes } from '../../signer/spiffe/json.ts';
import { parseJwt } from '../../signer/spiffe/jwt-svid.ts';
import { CliError } from '../errors.ts';
import { type HttpsAnswer, type HttpsRequest, sendHttps } from '../https.ts';
import { printable } from '../output.ts';

const jwtType = 'urn:ietf:params:oauth:token-type:jwt';
const timeoutMs = 15_000;
const maxBytes = 64 * 1024;

/** How a pod proves who it is: with its ServiceAccount token, or with the credential bundle that kubelet wrote, PEM. */
export type PodCredential = { readonly subjectToken: string } | { readonly credentialBundle: string };

/**
 * Gets a JWT-SVID, as a pod does: by token exchange (RFC 8693 2.1), or in the short form with a client certificate.
 * @throws CliError TOKEN_REFUSED with what the endpoint says, in which is no token; USAGE for a bundle without a key.
 */
export async function getJwtSvid(wanted: {
  readonly url: URL;
  readonly credential: PodCredential;
  readonly audience: string;
  readonly trust: HttpsRequest['trust'];
}): Promise<string> {
  const { url, credential, audience, trust } = wanted;
  const answer = await sendHttps({
    url,
    method: 'POST',
    ...('subjectToken' in credential
      ? exchangeOf(credential.subjectToken, audience)
      : shortForm(credential.credentialBundle, audience)),
    trust,
    signal: AbortSignal.timeout(timeoutMs),
    maxBytes,
  });
  if (!answer.ok) {
    const hint = 'see whether --endpoint is right, and --roots holds the roots of the trust domain';
    throw new CliError('TOKEN_REFUSED', answer.reason, hint);
  }
  const read = parseJsonBytes(answer.value.body, 'the answer');
  const said: JsonObject = read.ok && isJsonObject(read.value) ? read.value : {};
  if (answer.value.status !== 200) throw refusal(answer.value, said);
  const { access_token: token, issued_token_type: type } = said;
  if (typeof token !== 'string' || type !== jwtType || !parseJwt(token).ok) {
    throw new CliError(
      'TOKEN_REFUSED',
      `${url.host} did not answer with a JWT`,
      'see whether --endpoint is right',
    );
  }
  return token;
}

type Asking = Pick<HttpsRequest, 'headers' | 'body' | 'client'>;

function exchangeOf(subjectToken: string, audience: string): Asking {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subjectToken,
    subject_token_type: jwtType,
    audience,
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
  return { headers, body: form.toString() };
}

function shortForm(credentialBundle: string, audience: string): Asking {
  const blocks = decodePem(credentialBundle);
  const labels = new Set(blocks.ok ? blocks.value.map(({ label }) => label) : []);
  if (!labels.has('CERTIFICATE') || ![...labels].some((label) => label.endsWith('PRIVATE KEY'))) {
    const hint = 'give the file that kubelet writes to credentialBundlePath: private key and chain in one';
    throw new CliError('USAGE', 'the file holds no certificate with its private key', hint);
  }
  return {
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ audience }),
    client: { key: credentialBundle, cert: credentialBundle },
  };
}

function refusal({ status, headers }: HttpsAnswer, said: JsonObject): CliError {
  const text = (name: string) => (typeof said[name] === 'string' ? printable(said[name]) : undefined);
  const codes = [text('error'), text('reason')].filter((code) => code !== undefined);
  const what = `the endpoint refused with status ${status}${codes.length > 0 ? ` (${codes.join(', ')})` : ''}`;
  const again = headers['retry-after'];
  const hint = again === undefined ? undefined : `try again in ${printable(again)} s`;
  return new CliError('TOKEN_REFUSED', `${what}: ${text('error_description') ?? 'it says no more'}`, hint);
}
