import type { FastifyRequest } from 'fastify';
import { peerCertificate } from './client-tls.ts';
import { jwtTokenType, type Presented, readExchange, readShortForm, type TokenRequest } from './exchange.ts';
import { type Http, sendRefusal } from './http.ts';
import { paths } from './paths.ts';
import { type Checked, pass, refuse } from './refusals.ts';
import type { TokenService } from './service.ts';

/**
 * Adds what gives JWT-SVIDs: the token exchange of RFC 8693 and its short form.
 *
 * @param options asksForCertificates: whether the server was made to ask its clients for certificates.
 */
export function addTokenRoutes(
  { app, startedAt }: Http,
  answer: TokenService,
  { asksForCertificates = false } = {},
): void {
  for (const type of ['application/x-www-form-urlencoded', 'application/json']) {
    app.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => done(null, body));
  }

  function presentedBy({ headers, socket }: FastifyRequest): Checked<Presented> {
    const { authorization } = headers;
    if (!asksForCertificates) return pass({ authorization });
    const certificate = peerCertificate(socket);
    return certificate.ok ? pass({ authorization, peer: { certificate: certificate.value } }) : certificate;
  }

  function tokenRoute(
    path: string,
    contentType: string,
    read: (body: string, presented: Presented) => Checked<TokenRequest>,
  ): void {
    app.post(path, async (request, reply) => {
      const [type] = (request.headers['content-type'] ?? '').split(';');
      const body = typeof request.body === 'string' ? request.body : '';
      const presented = presentedBy(request);
      const asked = !presented.ok
        ? presented
        : type?.trim().toLowerCase() === contentType
          ? read(body, presented.value)
          : refuse('RequestMalformed', `the Content-Type is not ${contentType}`);
      const outcome = await answer(asked, request.ip, startedAt(request));
      if (!outcome.ok) return sendRefusal(reply, outcome);
      const { token, expiresIn } = outcome.value;
      // RFC 6749 5.1, RFC 8693 2.2.1.
      return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send({
        access_token: token,
        issued_token_type: jwtTokenType,
        token_type: 'Bearer',
        expires_in: expiresIn,
      });
    });
  }
  tokenRoute(paths.exchange, 'application/x-www-form-urlencoded', readExchange);
  tokenRoute(paths.shortForm, 'application/json', readShortForm);
}
