import type { FastifyReply, FastifySchema } from 'fastify';
import { shownTerms } from '../../identity/identify.ts';
import type { Checked } from '../../observe/checked.ts';
import type { Presented } from '../caller/credential.ts';
import { maxTokenLength } from '../caller/psat.ts';
import { grantType, jwtTokenType, readExchange, readShortForm, type TokenRequest } from '../svid/exchange.ts';
import type { IssuedToken, TokenService } from '../svid/jwt-service.ts';
import type { Http } from './http.ts';
import { header, json, ofRegistration, refusedAt, registration } from './openapi.ts';
import { paths } from './paths.ts';

const formType = 'application/x-www-form-urlencoded';

const audience = {
  description: 'Who receives the JWT-SVID. Several only where the setting jwtMaxAudiences allows it',
  oneOf: [
    { type: 'string', minLength: 1, maxLength: 1024 },
    { type: 'array', items: { type: 'string', minLength: 1, maxLength: 1024 }, minItems: 1, maxItems: 10 },
  ],
};

const form = {
  type: 'object',
  required: ['grant_type', 'subject_token', 'subject_token_type', 'audience'],
  properties: {
    grant_type: { const: grantType },
    subject_token: {
      type: 'string',
      description: 'Projected ServiceAccount token of the pod',
      maxLength: maxTokenLength,
    },
    subject_token_type: { const: jwtTokenType },
    requested_token_type: { const: jwtTokenType },
    audience,
    registration,
  },
  additionalProperties: false,
};

const shortForm = {
  type: 'object',
  required: ['audience'],
  properties: { audience, registration },
  additionalProperties: false,
};

const tokenSchema = {
  $id: 'Token',
  type: 'object',
  required: ['access_token', 'issued_token_type', 'token_type', 'expires_in'],
  properties: {
    access_token: { type: 'string', description: 'The JWT-SVID' },
    issued_token_type: { const: jwtTokenType },
    token_type: { const: 'Bearer' },
    expires_in: { type: 'integer', minimum: 1, description: 'Seconds' },
    ...ofRegistration,
  },
  additionalProperties: false,
};
const issuedToken = {
  description: 'A JWT-SVID',
  headers: { 'Cache-Control': header('no-store') },
  content: json({ $ref: 'Token#' }),
};

/** Adds what issues JWT-SVIDs: the token exchange of RFC 8693 and its short form. */
export function addTokenRoutes({ app, issued }: Http, issue: TokenService): void {
  app.addSchema(tokenSchema);

  function addRoute(
    path: string,
    contentType: string,
    schema: FastifySchema,
    read: (body: string, presented: Presented) => Checked<TokenRequest>,
  ): void {
    app.addContentTypeParser(contentType, { parseAs: 'string' }, (_request, body, done) => done(null, body));
    app.post(path, { schema }, async (request, reply) => {
      const body = typeof request.body === 'string' ? request.body : '';
      const token = await issued(reply, contentType, async (presented, context) => {
        const asked = read(body, presented);
        return asked.ok ? issue(asked.value, context) : asked;
      });
      return token ? send(reply, token) : reply;
    });
  }

  addRoute(
    paths.exchange,
    formType,
    {
      operationId: 'exchangeToken',
      summary: 'Exchange a ServiceAccount token for a JWT-SVID (RFC 8693)',
      body: { content: { [formType]: { schema: form } } },
      response: { 200: issuedToken, ...refusedAt('exchange') },
    },
    readExchange,
  );
  addRoute(
    paths.shortForm,
    'application/json',
    {
      operationId: 'getJwtSvid',
      summary:
        'The same, with the ServiceAccount token as Bearer and JSON; or with a client certificate, where the ' +
        'setting tokenClientCertificates is on',
      security: [{ serviceAccountToken: [] }, { clientCertificate: [] }],
      body: { content: json(shortForm) },
      response: { 200: issuedToken, ...refusedAt('jwt-svid') },
    },
    readShortForm,
  );
}

/** RFC 6749 5.1, RFC 8693 2.2.1. */
function send(reply: FastifyReply, issued: IssuedToken): FastifyReply {
  const { token, expiresIn } = issued;
  const answer = {
    access_token: token,
    issued_token_type: jwtTokenType,
    token_type: 'Bearer',
    expires_in: expiresIn,
    ...shownTerms(issued),
  };
  return reply
    .headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(answer));
}
