import type { FastifyReply } from 'fastify';
import { readX509Request } from '../svid/csr-request.ts';
import type { IssuedX509Svid, X509Service } from '../svid/x509-service.ts';
import type { Http } from './http.ts';
import { paths } from './paths.ts';

/** RFC 5967. */
const requestType = 'application/pkcs10';
/** RFC 8555 9.1. */
const chainType = 'application/pem-certificate-chain';

/** Adds what issues X509-SVIDs. */
export function addX509Routes({ app, issued }: Http, issue: X509Service): void {
  app.addContentTypeParser(requestType, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  app.post(paths.x509Svid, async (request, reply) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const svid = await issued(reply, requestType, async (presented, context) => {
      const asked = readX509Request(body, presented);
      return asked.ok ? issue(asked.value, context) : asked;
    });
    return svid ? send(reply, svid) : reply;
  });
}

function send(reply: FastifyReply, svid: IssuedX509Svid): FastifyReply {
  reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  const { spiffeId, chainPem, rootsPem, issuedAt, notAfter, refreshAt } = svid;
  if (prefersJson(reply.request.headers.accept)) {
    return reply.send({
      spiffe_id: spiffeId,
      certificate_chain: chainPem,
      trust_bundle: rootsPem,
      expires_at: notAfter,
      refresh_at: refreshAt,
    });
  }
  return reply
    .headers({
      // What a shell cannot see in the certificates alone: where the roots begin, and when to come back.
      'kubespiffe-chain-length': String(chainPem.split('-----BEGIN ').length - 1),
      'kubespiffe-refresh-after': String(refreshAt - issuedAt),
    })
    .type(chainType)
    .send(chainPem + rootsPem);
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
