import { type PublishedDocument, published } from '../authority/documents.ts';
import { jwtTokenType } from './exchange.ts';
import { paths } from './paths.ts';
import { type Refusal, type RefusalCode, refusals } from './refusals.ts';

/** What only `/token` can be refused for, as only it is a form with parameters. */
const ofExchangeAlone: readonly RefusalCode[] = [
  'ParameterMissing',
  'ParameterRepeated',
  'GrantTypeUnsupported',
  'TokenTypeUnsupported',
];
/** What only a client certificate can be refused for, which stands in for a token at `/jwt-svid` alone. */
const ofCertificates: readonly RefusalCode[] = [
  'CredentialMissing',
  'CertificateMalformed',
  'CertificateUntrusted',
  'CertificateTainted',
  'CertificateExpired',
  'CertificateNotYetValid',
  'CertificateNotSvid',
  'CertificateOfInfrastructure',
  'CertificateWithoutPod',
  'CertificateNotOfPod',
];
/** What a document that everybody may read can be refused for. */
const ofDocuments: readonly RefusalCode[] = ['NotReady', 'AddressLimited', 'Overloaded', 'Fault'];

/** What only requests for JWT-SVIDs can be refused for, as only they have an audience and parameters. */
const ofTokensAlone: readonly RefusalCode[] = [
  'ParameterUnsupported',
  'AudienceMissing',
  'AudienceMalformed',
  'AudienceTooMany',
  'AudienceForbidden',
  'AudienceNotAllowed',
];
/** What only requests for X509-SVIDs can be refused for. */
const ofX509Alone: readonly RefusalCode[] = [
  'RouteUnknown',
  'CsrUnreadable',
  'CsrSignatureInvalid',
  'UnsupportedKeyType',
];

const allCodes = Object.keys(refusals) as RefusalCode[];
const without = (codes: readonly RefusalCode[], ...left: RefusalCode[]) =>
  codes.filter((code) => !left.includes(code));
const ofTokens = without(allCodes, ...ofX509Alone);
const ofExchange = without(ofTokens, ...ofCertificates);
const ofShortForm = without(ofTokens, ...ofExchangeAlone);
const ofX509: readonly RefusalCode[] = [
  ...ofX509Alone,
  ...without(ofShortForm, ...ofTokensAlone, ...ofCertificates),
];

const json = (schema: object) => ({ 'application/json': { schema } });
const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const header = (description: string) => ({ description, schema: { type: 'string' } });

/** One response for each status, which names the reasons that it may have: the table of refusals, turned over. */
function refusalResponses(codes: readonly RefusalCode[]): Record<string, object> {
  const byStatus = Map.groupBy(codes, (code) => refusals[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, reasons]) => [
      String(status),
      {
        description: reasons.map((code) => `${code}: ${refusals[code].message}`).join('\n\n'),
        ...(reasons.some((code) => refusals[code].verdict === 'wait') && {
          headers: { 'Retry-After': header('Seconds after which the same request may be repeated') },
        }),
        content: json({
          allOf: [reference('Refusal'), { properties: { reason: { enum: reasons } } }],
        }),
      },
    ]),
  );
}

/** What the HTTP parser cuts before there is a request, in the same form. */
const cutResponses = {
  '408': { description: 'The request took longer than 10 s', content: json(reference('Refusal')) },
  '431': { description: 'The headers are larger than 16 KiB', content: json(reference('Refusal')) },
};

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
      ...refusalResponses(ofDocuments),
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
        ofExchange,
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
        ofShortForm,
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
        ofX509,
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
          reason: { enum: allCodes, description: 'Has a heading in docs/reference/token-endpoint.md' },
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
