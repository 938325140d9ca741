import {
  discoveryDocument,
  jwksDocument,
  publishedAlgorithms,
  rootsPem,
  spiffeBundleDocument,
} from '../../authority/documents.ts';
import type { Pool } from '../../authority/pool.ts';
import { refuse } from '../refusals.ts';
import type { Http } from './http.ts';
import { openApiDocument } from './openapi.ts';
import { paths } from './paths.ts';
import { alwaysServed, createServed, type Served, select } from './published.ts';

type DocumentName = 'discovery' | 'keys' | 'bundle' | 'roots' | 'openApi';

/** What stands at the paths that everybody may read; each undefined while there is no pool. */
export type Documents = Readonly<Partial<Record<DocumentName, () => Served | undefined>>>;

/**
 * The documents of a pool, ready to be served by any listener.
 *
 * @param settings issuer: of the JWT-SVIDs, without which there is no discovery. refreshHintSeconds: how often others
 *   should read them anew.
 */
export function createDocuments(
  pool: () => Pool | undefined,
  settings: { readonly issuer: string | undefined; readonly refreshHintSeconds: number },
): Documents {
  const { issuer, refreshHintSeconds } = settings;
  return {
    ...(issuer !== undefined && {
      discovery: createServed(pool, (current) =>
        discoveryDocument({
          issuer,
          jwksUri: `${issuer}${paths.keys}`,
          algorithms: publishedAlgorithms(current),
        }),
      ),
    }),
    keys: createServed(pool, jwksDocument),
    bundle: createServed(pool, (current) => spiffeBundleDocument(current, refreshHintSeconds)),
    roots: createServed(pool, rootsPem),
    openApi: alwaysServed(openApiDocument()),
  };
}

/** Adds a route for each document. @param maxAgeSeconds how long it may be kept by who has read it. */
export function addDocumentRoutes(http: Http, documents: Documents, maxAgeSeconds: number): void {
  for (const [name, current] of Object.entries(documents) as [DocumentName, () => Served | undefined][]) {
    http.app.get(paths[name], async (request, reply) => {
      const published = current();
      if (!published)
        return http.refused(reply, refuse('NotReady', 'the pool of authorities was not read yet'));
      const selected = select(published, {
        acceptEncoding: headerOf(request.headers['accept-encoding']),
        ifNoneMatch: headerOf(request.headers['if-none-match']),
      });
      reply.code(selected.status).headers({
        'cache-control': `public, max-age=${maxAgeSeconds}`,
        etag: selected.etag,
        vary: 'Accept-Encoding',
        'x-content-type-options': 'nosniff',
      });
      if (selected.status === 304) return reply.send();
      if (selected.isGzipped) reply.header('content-encoding', 'gzip');
      return reply.type(published.contentType).send(selected.body);
    });
  }
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
