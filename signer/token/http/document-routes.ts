import type { Pool } from '../../authority/pool.ts';
import {
  discoveryDocument,
  jwksDocument,
  type PublishedDocument,
  publishedAlgorithms,
  rootsPem,
  spiffeBundleDocument,
} from '../../trust/published-documents.ts';
import { type Checked, pass, refuse } from '../../observe/refusals.ts';
import type { Http } from './http.ts';
import { openApiDocument } from './openapi.ts';
import { paths } from './paths.ts';
import { compress, createServed, type Served, select } from './published.ts';

type DocumentName = 'discovery' | 'keys' | 'bundle' | 'roots' | 'openApi';

/** What stands at the paths that everybody may read, or why there is nothing. */
export type Documents = Readonly<Partial<Record<DocumentName, () => Checked<Served>>>>;

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
  const ofPool = (documentOf: (current: Pool) => PublishedDocument | undefined) => {
    const served = createServed(pool, documentOf);
    return () => {
      const document = served();
      if (document) return pass(document);
      return refuse(
        'NotReady',
        pool() ? 'the pool has nothing to publish here' : 'the pool was not read yet',
      );
    };
  };
  const openApi = pass(compress(openApiDocument()));
  return {
    ...(issuer !== undefined && {
      discovery: ofPool((current) =>
        discoveryDocument({
          issuer,
          jwksUri: `${issuer}${paths.keys}`,
          algorithms: publishedAlgorithms(current),
        }),
      ),
    }),
    keys: ofPool(jwksDocument),
    bundle: ofPool((current) => spiffeBundleDocument(current, refreshHintSeconds)),
    roots: ofPool(rootsPem),
    openApi: () => openApi,
  };
}

/** Adds a route for each document. @param maxAgeSeconds how long it may be kept by who has read it. */
export function addDocumentRoutes(http: Http, documents: Documents, maxAgeSeconds: number): void {
  for (const [name, current] of Object.entries(documents) as [DocumentName, () => Checked<Served>][]) {
    http.app.get(paths[name], async (request, reply) => {
      const published = current();
      if (!published.ok) return http.refused(reply, published);
      const selected = select(published.value, {
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
      return reply.type(published.value.contentType).send(selected.body);
    });
  }
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
