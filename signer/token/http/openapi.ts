import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import { sentenceOf } from '../../observe/checked.ts';
import type { Operation, Refusal } from '../../observe/refusal-rows.ts';
import { type RefusalCode, refusals } from '../../observe/refusals.ts';

/**
 * Lets the routes that are added after it describe themselves: `app.swagger()` makes the OpenAPI document of their
 * schemas. The schemas check nothing: bodies are read by our own readers, whose refusals have codes.
 */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
  app.addSchema(refusalSchema);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'kubespiffe token endpoint',
        version: '1',
        description: 'Exchanges ServiceAccount tokens of pods for SVIDs, and publishes what verifies them.',
      },
      components: {
        securitySchemes: {
          serviceAccountToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          clientCertificate: mutualTls as never,
        },
      },
    },
    convertConstToEnum: false,
    refResolver: { buildLocalReference: ({ $id }) => String($id) },
  });
}

/** A type of OpenAPI 3.1 that the types of the plugin lack. */
const mutualTls = { type: 'mutualTLS', description: 'X509-SVID of a pod, with its chain' };

const refusalSchema = {
  $id: 'Refusal',
  type: 'object',
  required: ['error', 'error_description', 'reason'],
  properties: {
    error: { type: 'string', enum: [...new Set(Object.values<Refusal>(refusals).map(({ error }) => error))] },
    error_description: { type: 'string', description: 'What was wrong, and what to do' },
    reason: {
      type: 'string',
      enum: Object.keys(refusals),
      description: 'Has a heading in docs/reference/token-endpoint.md',
    },
  },
  additionalProperties: false,
};

export const json = (schema: object) => ({ 'application/json': { schema } });
/** In requests. */
export const registration = {
  type: 'string',
  maxLength: 253,
  description:
    'Name of the registration that is meant, where several match the pod: one of its namespace, or of the cluster',
};
/** In answers. */
export const ofRegistration = {
  registration: {
    type: 'string',
    description: 'The registration that gave the SPIFFE ID; absent for the default identity',
  },
  hint: { type: 'string', description: 'What the registration says about the use of the identity' },
};
export const header = (description: string) => ({ type: 'string', description });

/** One response for each status, with the reasons that it may have: the table of refusals, turned over. */
export function refusedAt(operation: Operation): Record<string, object> {
  const codes = (Object.keys(refusals) as RefusalCode[]).filter((code) =>
    refusals[code].at.includes(operation),
  );
  const byStatus = Map.groupBy(codes, (code) => refusals[code].status);
  return {
    // From the HTTP parser, before there is a request.
    431: { description: 'The headers are larger than 16 KiB', content: json({ $ref: 'Refusal#' }) },
    ...Object.fromEntries(
      [...byStatus].map(([status, reasons]) => [
        status,
        {
          description: reasons.map((code) => `${code}: ${sentenceOf(code)}`).join('\n\n'),
          ...(reasons.some((code) => refusals[code].verdict === 'wait') && {
            headers: { 'Retry-After': header('Seconds after which the same request may be repeated') },
          }),
          content: json({ allOf: [{ $ref: 'Refusal#' }, { properties: { reason: { enum: reasons } } }] }),
        },
      ]),
    ),
  };
}
