import type { FastifyInstance, FastifyRequest } from 'fastify';
import { messageOf } from '../spiffe/errors.ts';
import type { VerifiedJwtSvid } from '../spiffe/jwt-verify.ts';
import type { Authorizer, Predicate } from './authorize.ts';
import { authorizerOf, refusalOf } from './authorizer.ts';
import { validateJwtSvid } from './jwt.ts';
import type { BundleSource } from './trust-bundle.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The JWT-SVID of the caller, valid and authorized. Null only outside of the plugin's routes. */
    jwtSvid: VerifiedJwtSvid | null;
  }
}

export interface BearerOptions {
  /** The name of this service, which has to be among the audiences of a token. */
  readonly audience: string;
  readonly bundles: Pick<BundleSource, 'bundles'>;
  /** Which callers are accepted. There is no default. */
  readonly authorize: Authorizer | Predicate;
}

/**
 * A plugin of fastify: each request of the scope where it is registered needs a JWT-SVID as a Bearer token (RFC 6750).
 * Without a valid one it is answered with 401, with one that is not authorized 403.
 *
 * @example
 * ```js
 * import { fastify } from 'fastify';
 * import { memberOf } from 'kubespiffe/authorize';
 * import { openBundleSource } from 'kubespiffe/bundle-source';
 * import { bearerJwtSvid } from 'kubespiffe/fastify';
 *
 * await using bundles = await openBundleSource('/run/spiffe', { 'example.org': 'bundle.json' });
 * const app = fastify();
 * app.register(bearerJwtSvid, {
 *   audience: 'https://api.example.org',
 *   bundles,
 *   authorize: memberOf('example.org'),
 * });
 * app.get('/', async (request) => `hello ${request.jwtSvid.id.uri}`);
 * const response = await app.inject('/');
 * console.log(response.statusCode, response.headers['www-authenticate']);
 * ```
 */
export async function bearerJwtSvid(app: FastifyInstance, options: BearerOptions): Promise<void> {
  const { audience, bundles } = options;
  const authorizer = authorizerOf(options.authorize);
  app.decorateRequest('jwtSvid', null);
  app.addHook('onRequest', async (request, reply) => {
    const token = bearerOf(request);
    if (token === undefined) {
      reply.header('www-authenticate', 'Bearer');
      throw refused(401, 'a JWT-SVID is needed as a Bearer token');
    }
    let svid: VerifiedJwtSvid;
    try {
      svid = validateJwtSvid(token, audience, bundles);
    } catch (error) {
      reply.header('www-authenticate', challenge('invalid_token', messageOf(error)));
      throw refused(401, messageOf(error));
    }
    const refusal = refusalOf(authorizer, svid.id);
    if (refusal !== undefined) {
      // The caller does not learn who would be accepted.
      request.log.info({ peer: svid.id.uri, refusal }, 'the caller is not authorized');
      reply.header('www-authenticate', challenge('insufficient_scope', `${svid.id.uri} is not authorized`));
      throw refused(403, `${svid.id.uri} is not authorized`);
    }
    request.jwtSvid = svid;
  });
}

/** Fastify gives the hook to the scope around the plugin, as with `fastify-plugin`. */
Object.assign(bearerJwtSvid, { [Symbol.for('skip-override')]: true });

function bearerOf({ headers }: FastifyRequest): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}

/** RFC 6750 3: a description has no quotes, backslashes and control characters. */
function challenge(error: string, description: string): string {
  return `Bearer error="${error}", error_description="${description.replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, "'")}"`;
}

const refused = (statusCode: number, message: string): Error =>
  Object.assign(new Error(message), { statusCode });
