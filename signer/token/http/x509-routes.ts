import { refuse } from '../refusals.ts';
import { readX509Request } from '../svid/csr-request.ts';
import type { IssuedX509Svid, X509Service } from '../svid/x509-service.ts';
import { addressOf } from './address.ts';
import { type Http, sendRefusal } from './http.ts';
import { paths } from './paths.ts';

/** RFC 5967. */
const requestType = 'application/pkcs10';
/** RFC 8555 9.1. */
const chainType = 'application/pem-certificate-chain';

/** Adds what gives X509-SVIDs. */
export function addX509Routes({ app, startedAt, presented }: Http, answer: X509Service): void {
  app.addContentTypeParser(requestType, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  app.post(paths.x509Svid, async (request, reply) => {
    const [type] = (request.headers['content-type'] ?? '').split(';');
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const shown = presented(request);
    const asked = !shown.ok
      ? shown
      : type?.trim().toLowerCase() === requestType
        ? readX509Request(body, shown.value)
        : refuse('RequestMalformed', `the Content-Type is not ${requestType}`);
    const outcome = await answer(asked, addressOf(request.socket), startedAt(request));
    if (!outcome.ok) return sendRefusal(reply, outcome);
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
    if (prefersJson(request.headers.accept)) return reply.send(jsonOf(outcome.value));
    const { chainPem, rootsPem, issuedAt, refreshAt } = outcome.value;
    return reply
      .headers({
        // What a shell cannot tell from the certificates alone: where the roots begin, and when to come back.
        'kubespiffe-chain-length': String(chainPem.split('-----BEGIN ').length - 1),
        'kubespiffe-refresh-after': String(refreshAt - issuedAt),
      })
      .type(chainType)
      .send(chainPem + rootsPem);
  });
}

function jsonOf(svid: IssuedX509Svid): object {
  return {
    spiffe_id: svid.spiffeId,
    certificate_chain: svid.chainPem,
    trust_bundle: svid.rootsPem,
    expires_at: svid.expiresAt,
    refresh_at: svid.refreshAt,
  };
}

/** Whether an Accept header (RFC 9110 12.5.1) names JSON, and not PEM with more weight. */
function prefersJson(accept = ''): boolean {
  const weights = new Map(
    accept.split(',').map((range): [string, number] => {
      const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
      return [type, weight === undefined ? 1 : Number(weight)];
    }),
  );
  const json = weights.get('application/json') ?? 0;
  return json > 0 && json >= (weights.get(chainType) ?? 0);
}
