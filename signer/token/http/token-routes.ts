import { type Checked, refuse } from '../refusals.ts';
import { jwtTokenType, readExchange, readShortForm, type TokenRequest } from '../svid/exchange.ts';
import type { TokenService } from '../svid/jwt-service.ts';
import { addressOf } from './address.ts';
import { type Http, sendRefusal } from './http.ts';
import { paths } from './paths.ts';
import type { Presented } from './presented.ts';

/** Adds what gives JWT-SVIDs: the token exchange of RFC 8693 and its short form. */
export function addTokenRoutes({ app, startedAt, presented }: Http, answer: TokenService): void {
  for (const type of ['application/x-www-form-urlencoded', 'application/json']) {
    app.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => done(null, body));
  }

  function tokenRoute(
    path: string,
    contentType: string,
    read: (body: string, presented: Presented) => Checked<TokenRequest>,
  ): void {
    app.post(path, async (request, reply) => {
      const [type] = (request.headers['content-type'] ?? '').split(';');
      const body = typeof request.body === 'string' ? request.body : '';
      const shown = presented(request);
      const asked = !shown.ok
        ? shown
        : type?.trim().toLowerCase() === contentType
          ? read(body, shown.value)
          : refuse('RequestMalformed', `the Content-Type is not ${contentType}`);
      const outcome = await answer(asked, addressOf(request.socket), startedAt(request));
      if (!outcome.ok) return sendRefusal(reply, outcome);
      const { token, expiresIn } = outcome.value;
      // RFC 6749 5.1, RFC 8693 2.2.1.
      const issued = {
        access_token: token,
        issued_token_type: jwtTokenType,
        token_type: 'Bearer',
        expires_in: expiresIn,
      };
      return reply
        .headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
        .type('application/json; charset=utf-8')
        .send(JSON.stringify(issued));
    });
  }
  tokenRoute(paths.exchange, 'application/x-www-form-urlencoded', readExchange);
  tokenRoute(paths.shortForm, 'application/json', readShortForm);
}
