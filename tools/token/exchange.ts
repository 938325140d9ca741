import { isJsonObject, type JsonObject, parseJsonBytes } from '../../signer/spiffe/json.ts';
import { parseJwt } from '../../signer/spiffe/jwt-svid.ts';
import { CliError } from '../errors.ts';
import { type HttpsAnswer, type HttpsRequest, sendHttps } from '../https.ts';
import { printable } from '../output.ts';

const jwtType = 'urn:ietf:params:oauth:token-type:jwt';
const timeoutMs = 15_000;
const maxBytes = 64 * 1024;

/**
 * Exchanges a projected ServiceAccount token for a JWT-SVID, as a pod does (RFC 8693 2.1).
 * @throws CliError TOKEN_REFUSED with what the endpoint says; neither token is ever in it.
 */
export async function exchangeToken(wanted: {
  readonly url: URL;
  readonly subjectToken: string;
  readonly audience: string;
  readonly trust: HttpsRequest['trust'];
}): Promise<string> {
  const { url, subjectToken, audience, trust } = wanted;
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subjectToken,
    subject_token_type: jwtType,
    audience,
  });
  const answer = await sendHttps({
    url,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: form.toString(),
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

function refusal({ status, headers }: HttpsAnswer, said: JsonObject): CliError {
  const text = (name: string) => (typeof said[name] === 'string' ? printable(said[name]) : undefined);
  const codes = [text('error'), text('reason')].filter((code) => code !== undefined);
  const what = `the endpoint refused with status ${status}${codes.length > 0 ? ` (${codes.join(', ')})` : ''}`;
  const again = headers['retry-after'];
  const hint = again === undefined ? undefined : `try again in ${printable(again)} s`;
  return new CliError('TOKEN_REFUSED', `${what}: ${text('error_description') ?? 'it says no more'}`, hint);
}
