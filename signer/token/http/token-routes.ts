import type { FastifyReply } from 'fastify';
import type { Checked } from '../../observe/refusals.ts';
import type { Presented } from '../caller/credential.ts';
import { jwtTokenType, readExchange, readShortForm, type TokenRequest } from '../svid/exchange.ts';
import type { IssuedToken, TokenService } from '../svid/jwt-service.ts';
import type { Http } from './http.ts';
import { paths } from './paths.ts';

/** Adds what issues JWT-SVIDs: the token exchange of RFC 8693 and its short form. */
export function addTokenRoutes({ app, issued }: Http, issue: TokenService): void {
  function addRoute(
    path: string,
    contentType: string,
    read: (body: string, presented: Presented) => Checked<TokenRequest>,
  ): void {
    app.addContentTypeParser(contentType, { parseAs: 'string' }, (_request, body, done) => done(null, body));
    app.post(path, async (request, reply) => {
      const body = typeof request.body === 'string' ? request.body : '';
      const token = await issued(reply, contentType, async (presented, context) => {
        const asked = read(body, presented);
        return asked.ok ? issue(asked.value, context) : asked;
      });
      return token ? send(reply, token) : reply;
    });
  }
  addRoute(paths.exchange, 'application/x-www-form-urlencoded', readExchange);
  addRoute(paths.shortForm, 'application/json', readShortForm);
}

/** RFC 6749 5.1, RFC 8693 2.2.1. */
function send(reply: FastifyReply, { token, expiresIn }: IssuedToken): FastifyReply {
  const answer = {
    access_token: token,
    issued_token_type: jwtTokenType,
    token_type: 'Bearer',
    expires_in: expiresIn,
  };
  return reply
    .headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(answer));
}
