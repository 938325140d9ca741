import { type PublishedDocument, published } from '../../trust/published-documents.ts';
import { type Refusal, type RefusalCode, refusals } from '../../observe/refusals.ts';
import { jwtTokenType } from '../svid/exchange.ts';
import { cutResponses, header, json, reference, refusalResponses, refusedFor } from './openapi-refusals.ts';
import { paths } from './paths.ts';

const audience = {
  description: 'Who receives the JWT-SVID. Several only where the setting jwtMaxAudiences allows it',
  oneOf: [
    { type: 'string', minLength: 1, maxLength: 1024 },
    { type: 'array', items: { type: 'string', minLength: 1, maxLength: 1024 }, minItems: 1, maxItems: 10 },
  ],
};

/** What is given to a pod, which has proved itself. @param given the body by content type. */
function svidOperation(
  more: object,
  description: string,
  given: object,
  codes: readonly RefusalCode[],
): object {
  return {
    ...more,
    responses: {
      '200': { description, headers: { 'Cache-Control': header('no-store') }, ...given },
      ...refusalResponses(codes),
      ...cutResponses,
    },
  };
}

function tokenOperation(more: object, codes: readonly RefusalCode[]): object {
  return svidOperation(more, 'A JWT-SVID', { content: json(reference('Token')) }, codes);
}

const certificates = {
  'application/pem-certificate-chain': {
    schema: { type: 'string', description: 'Leaf, intermediates, then the roots' },
  },
  ...json(reference('X509Svid')),
};
const chainLength = {
  description: 'With PEM: how many of the certificates are the chain; those that follow are the roots',
  schema: { type: 'integer', minimum: 1 },
};
const refreshAfter = {
  description: 'With PEM: seconds after which to ask for the next, half of the life that is left',
  schema: { type: 'integer', minimum: 15 },
};

function documentOperation(operationId: string, summary: string, contentType: string): object {
  const headers = {
    ETag: header('Strong validator of these bytes'),
    'Cache-Control': header('public, max-age of the setting tokenRefreshHint'),
  };
  const schema = contentType.includes('json') ? { type: 'object' } : { type: 'string' };
  return {
    operationId,
    summary,
    parameters: [{ name: 'If-None-Match', in: 'header', schema: { type: 'string' } }],
    responses: {
      '200': { description: summary, headers, content: { [contentType]: { schema } } },
      '304': { description: 'As the caller has it', headers },
      ...refusalResponses(refusedFor.documents),
      ...cutResponses,
    },
  };
}

const form = {
  type: 'object',
  required: ['grant_type', 'subject_token', 'subject_token_type', 'audience'],
  properties: {
    grant_type: { const: 'urn:ietf:params:oauth:grant-type:token-exchange' },
    subject_token: {
      type: 'string',
      description: 'Projected ServiceAccount token of the pod',
      maxLength: 8192,
    },
    subject_token_type: { const: jwtTokenType },
    requested_token_type: { const: jwtTokenType },
    audience,
  },
  additionalProperties: false,
};

/** The description of the endpoint (OpenAPI 3.1), as data; a test holds it to the routes and to what they answer. */
export const openApi = {
  openapi: '3.1.0',
  info: {
    title: 'kubespiffe token endpoint',
    version: '1',
    description: 'Exchanges ServiceAccount tokens of pods for SVIDs, and publishes what verifies them.',
  },
  paths: {
    [paths.exchange]: {
      post: tokenOperation(
        {
          operationId: 'exchangeToken',
          summary: 'Exchange a ServiceAccount token for a JWT-SVID (RFC 8693)',
          requestBody: { required: true, content: { 'application/x-www-form-urlencoded': { schema: form } } },
        },
        refusedFor.exchange,
      ),
    },
    [paths.shortForm]: {
      post: tokenOperation(
        {
          operationId: 'getJwtSvid',
          summary:
            'The same, with the ServiceAccount token as Bearer and JSON; or with a client certificate, where the ' +
            'setting tokenClientCertificates is on',
          security: [{ serviceAccountToken: [] }, { clientCertificate: [] }],
          requestBody: {
            required: true,
            content: json({
              type: 'object',
              required: ['audience'],
              properties: { audience },
              additionalProperties: false,
            }),
          },
        },
        refusedFor.shortForm,
      ),
    },
    [paths.x509Svid]: {
      post: svidOperation(
        {
          operationId: 'getX509Svid',
          summary: 'Get an X509-SVID for a PKCS#10 request; only where the setting x509Svid is on',
          security: [{ serviceAccountToken: [] }],
          requestBody: {
            required: true,
            content: {
              'application/pkcs10': {
                schema: {
                  type: 'string',
                  description: 'DER or PEM, signed by its own key',
                  maxLength: 65_536,
                },
              },
            },
          },
        },
        'An X509-SVID and the roots; PEM unless the Accept header names JSON',
        {
          headers: {
            'Cache-Control': header('no-store'),
            'Kubespiffe-Chain-Length': chainLength,
            'Kubespiffe-Refresh-After': refreshAfter,
          },
          content: certificates,
        },
        refusedFor.x509Svid,
      ),
    },
    [paths.discovery]: {
      get: documentOperation('getDiscovery', 'OpenID Connect discovery document', 'application/json'),
    },
    [paths.keys]: {
      get: documentOperation('getKeys', 'JWK set of the JWT keys', 'application/jwk-set+json'),
    },
    [paths.bundle]: {
      get: documentOperation('getBundle', 'SPIFFE bundle: roots and JWT keys', 'application/json'),
    },
    [paths.roots]: {
      get: documentOperation('getRoots', 'The roots as PEM', 'application/x-pem-file'),
    },
    [paths.openApi]: {
      get: documentOperation('getOpenApi', 'This document', 'application/json'),
    },
  },
  components: {
    securitySchemes: {
      serviceAccountToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
      clientCertificate: { type: 'mutualTLS', description: 'X509-SVID of a pod, with its chain' },
    },
    schemas: {
      Token: {
        type: 'object',
        required: ['access_token', 'issued_token_type', 'token_type', 'expires_in'],
        properties: {
          access_token: { type: 'string', description: 'The JWT-SVID' },
          issued_token_type: { const: jwtTokenType },
          token_type: { const: 'Bearer' },
          expires_in: { type: 'integer', minimum: 1, description: 'Seconds' },
        },
        additionalProperties: false,
      },
      X509Svid: {
        type: 'object',
        required: ['spiffe_id', 'certificate_chain', 'trust_bundle', 'expires_at', 'refresh_at'],
        properties: {
          spiffe_id: { type: 'string' },
          certificate_chain: {
            type: 'string',
            description: 'Leaf, then intermediates, without the root; PEM',
          },
          trust_bundle: { type: 'string', description: 'The roots; PEM' },
          expires_at: { type: 'integer', description: 'Seconds since the epoch' },
          refresh_at: { type: 'integer', description: 'When to ask for the next, seconds since the epoch' },
        },
        additionalProperties: false,
      },
      Refusal: {
        type: 'object',
        required: ['error', 'error_description', 'reason'],
        properties: {
          error: { enum: [...new Set(Object.values<Refusal>(refusals).map(({ error }) => error))] },
          error_description: { type: 'string', description: 'What was wrong, and what to do' },
          reason: {
            enum: Object.keys(refusals),
            description: 'Has a heading in docs/reference/token-endpoint.md',
          },
        },
        additionalProperties: false,
      },
    },
  },
};

/** The same as it is served. */
export function openApiDocument(): PublishedDocument {
  return published(`${JSON.stringify(openApi, undefined, 2)}\n`, 'application/json');
}
