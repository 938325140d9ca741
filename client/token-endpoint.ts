import { KubespiffeError } from '../spiffe/errors.ts';
import { type JsonObject, parseJsonBytes } from '../spiffe/json.ts';
import { printable } from '../spiffe/pki/text.ts';
import { type HttpsAnswer, type HttpsRequest, sendHttps } from './https.ts';

const timeoutMs = 15_000;
const maxBytes = 64 * 1024;

/**
 * Sends a request to the token endpoint and reads its answer.
 * @throws KubespiffeError TOKEN_REFUSED with what the endpoint says; what was sent is never in it.
 */
export async function askEndpoint(
  request: Pick<HttpsRequest, 'url' | 'headers' | 'body' | 'trust' | 'client' | 'env'> & {
    /** Ends the request, besides the time limit of 15 s. */
    readonly signal?: AbortSignal | undefined;
  },
): Promise<JsonObject> {
  const inTime = AbortSignal.timeout(timeoutMs);
  const answer = await sendHttps({
    ...request,
    method: 'POST',
    headers: { accept: 'application/json', ...request.headers },
    signal: request.signal ? AbortSignal.any([request.signal, inTime]) : inTime,
    maxBytes,
  });
  if (!answer.ok) {
    const hint = 'check --endpoint, and that --roots holds the roots of its trust domain';
    throw new KubespiffeError('TOKEN_REFUSED', answer.reason, { hint });
  }
  const read = parseJsonBytes(answer.value.body, 'the answer');
  const said: JsonObject = read.ok ? read.value : {};
  if (answer.value.status !== 200) throw refusal(answer.value, said);
  return said;
}

/** The error for a successful answer with unexpected content. */
export function strangeAnswer(url: URL, what: string): KubespiffeError {
  return new KubespiffeError('TOKEN_REFUSED', `${url.host} ${what}`, {
    hint: 'check that --endpoint is the URL of a kubespiffe token endpoint',
  });
}

function refusal({ status, headers }: HttpsAnswer, said: JsonObject): KubespiffeError {
  const text = (name: string) => (typeof said[name] === 'string' ? printable(said[name]) : undefined);
  const codes = [text('error'), text('reason')].filter((code) => code !== undefined);
  const what = `the endpoint refused with status ${status}${codes.length > 0 ? ` (${codes.join(', ')})` : ''}`;
  const again = headers['retry-after'];
  return new KubespiffeError(
    'TOKEN_REFUSED',
    `${what}: ${text('error_description') ?? 'without a description'}`,
    again === undefined ? {} : { hint: `try again in ${printable(again)} s` },
  );
}
