import type { FastifyReply, FastifySchema } from 'fastify';
import { shownTerms } from '../../identity/identify.ts';
import { readX509Request } from '../svid/csr-request.ts';
import type { IssuedX509Svid, X509Service } from '../svid/x509-service.ts';
import type { Http } from './http.ts';
import { maxBodyBytes } from './limits.ts';
import { header, json, ofRegistration, refusedAt, registration } from './openapi.ts';
import { paths } from './paths.ts';

/** RFC 5967. */
const requestType = 'application/pkcs10';
/** RFC 8555 9.1. */
const chainType = 'application/pem-certificate-chain';

const x509SvidSchema = {
  $id: 'X509Svid',
  type: 'object',
  required: ['spiffe_id', 'certificate_chain', 'trust_bundle', 'expires_at', 'refresh_at'],
  properties: {
    spiffe_id: { type: 'string' },
    certificate_chain: { type: 'string', description: 'Leaf, then intermediates, without the root; PEM' },
    trust_bundle: { type: 'string', description: 'The roots; PEM' },
    expires_at: { type: 'integer', description: 'Seconds since the epoch' },
    refresh_at: { type: 'integer', description: 'When to request the next, seconds since the epoch' },
    ...ofRegistration,
  },
  additionalProperties: false,
};

const schema: FastifySchema = {
  operationId: 'getX509Svid',
  summary: 'Get an X509-SVID for a PKCS#10 request',
  security: [{ serviceAccountToken: [] }],
  querystring: { type: 'object', properties: { registration } },
  body: {
    content: {
      [requestType]: {
        schema: { type: 'string', description: 'DER or PEM, signed by its own key', maxLength: maxBodyBytes },
      },
    },
  },
  response: {
    200: {
      description: 'An X509-SVID and the roots; PEM unless the Accept header names JSON',
      headers: {
        'Cache-Control': header('no-store'),
        'Kubespiffe-Chain-Length': {
          type: 'integer',
          minimum: 1,
          description:
            'With PEM: how many of the certificates are the chain; those that follow are the roots',
        },
        'Kubespiffe-Refresh-After': {
          type: 'integer',
          minimum: 15,
          description: 'With PEM: seconds after which to request the next, half of the lifetime that is left',
        },
      },
      content: {
        [chainType]: { schema: { type: 'string', description: 'Leaf, intermediates, then the roots' } },
        ...json({ $ref: 'X509Svid#' }),
      },
    },
    ...refusedAt('x509-svid'),
  },
};

/** Adds what issues X509-SVIDs. */
export function addX509Routes({ app, issued }: Http, issue: X509Service): void {
  app.addSchema(x509SvidSchema);
  app.addContentTypeParser(requestType, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  app.post(paths.x509Svid, { schema }, async (request, reply) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const { registration } = request.query as { registration?: unknown };
    const svid = await issued(reply, requestType, async (presented, context) => {
      const asked = readX509Request(body, presented, registration);
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
      ...shownTerms(svid),
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
  const weights = weightsIn(accept);
  const json = weights.get('application/json') ?? 0;
  return json > 0 && json >= (weights.get(chainType) ?? 0);
}

/** What an Accept header names, in lower case, with its weight (RFC 9110 12.4.2). */
function weightsIn(header: string): ReadonlyMap<string, number> {
  return new Map(
    header.split(',').map((range) => {
      const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
      return [name, weight === undefined ? 1 : Number(weight)] as const;
    }),
  );
}
