import type { FastifyReply, FastifySchema, RouteHandlerMethod, RouteShorthandOptions } from 'fastify';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import type { Operation } from '../../observe/refusal-rows.ts';
import type { Publication, PublicationView } from '../../trust/publication.ts';
import {
  discoveryDocument,
  jwksDocument,
  type PublishedDocument,
  published,
  publishedAlgorithms,
  rootsPem,
  spiffeBundleDocument,
} from '../../trust/published-documents.ts';
import type { Http } from './http.ts';
import { header, refusedAt } from './openapi.ts';
import { paths } from './paths.ts';
import { createServed } from './published.ts';

/** The public documents, and how the OpenAPI document describes them. */
const described = {
  discovery: ['getDiscovery', 'OpenID Connect discovery document', 'application/json'],
  keys: ['getKeys', 'JWK set of the JWT keys', 'application/jwk-set+json'],
  bundle: ['getBundle', 'SPIFFE bundle: roots and JWT keys', 'application/json'],
  clusterBundle: [
    'getClusterBundle',
    'SPIFFE bundle of the authorities of this cluster alone, for other clusters of the same trust domain',
    'application/json',
  ],
  roots: ['getRoots', 'The roots as PEM', 'application/x-pem-file'],
  openApi: ['getOpenApi', 'This document', 'application/json'],
} as const;
type DocumentName = keyof typeof described;

/** The documents by name, or why there is none now. */
export type Documents = Readonly<Partial<Record<DocumentName, CurrentDocument>>>;
type CurrentDocument = () => Checked<PublishedDocument>;

/**
 * The documents of a trust domain, ready to be served by any listener.
 *
 * @param settings issuer: of the JWT-SVIDs, without which there is no discovery. refreshHintSeconds: how often others
 *   should read them again.
 */
export function createDocuments(
  publication: PublicationView,
  settings: { readonly issuer: string | undefined; readonly refreshHintSeconds: number },
): Documents {
  const { issuer, refreshHintSeconds } = settings;
  const of = (documentOf: (current: Publication) => PublishedDocument | undefined) => {
    const served = createServed(publication.current, documentOf);
    return () => whenRead(served(), publication);
  };
  return {
    ...(issuer !== undefined && {
      discovery: of(({ pool }) =>
        discoveryDocument({
          issuer,
          jwksUri: `${issuer}${paths.keys}`,
          algorithms: publishedAlgorithms(pool),
        }),
      ),
    }),
    // The issuer of tokens is a cluster, not the trust domain.
    keys: of(({ pool }) => jwksDocument(pool)),
    bundle: of((current) => spiffeBundleDocument(current.pool, refreshHintSeconds, current)),
    clusterBundle: of(({ pool }) => spiffeBundleDocument(pool, refreshHintSeconds)),
    roots: of(({ pool, siblings }) => rootsPem(pool, siblings)),
  };
}

/** A document, or why there is none now. */
export function whenRead(
  served: PublishedDocument | undefined,
  publication: PublicationView,
): Checked<PublishedDocument> {
  if (served) return pass(served);
  return refuse('NotReady', publication.problem() ?? 'the pool has nothing to publish here');
}

/** The OpenAPI document of the routes that a listener has, once it is ready. */
export function openApiOf({ app }: Pick<Http, 'app'>): CurrentDocument {
  let served: PublishedDocument | undefined;
  return () => {
    served ??= published(`${JSON.stringify(app.swagger(), undefined, 2)}\n`, 'application/json');
    return pass(served);
  };
}

/** Adds a route for each document. @param maxAgeSeconds how long a reader may keep it. */
export function addDocumentRoutes(http: Http, documents: Documents, maxAgeSeconds: number): void {
  for (const [name, current] of Object.entries(documents) as [DocumentName, CurrentDocument][]) {
    const schema = documentSchema(described[name], 'document', 'public');
    addDocumentRoute(http, paths[name], { schema }, async (_request, reply) => {
      const document = current();
      if (!document.ok) return http.refused(reply, document);
      // In lower case, because the compression plugin adds the name unless it finds it like this.
      const caching = { control: `public, max-age=${maxAgeSeconds}`, vary: 'accept-encoding' };
      return sendDocument(reply, document.value, caching);
    });
  }
}

/**
 * Adds GET and HEAD. The HEAD that fastify makes of a GET is not compressed, so its Content-Length would be that of other
 * bytes (RFC 9110 8.6).
 */
export function addDocumentRoute(
  { app }: Http,
  path: string,
  options: RouteShorthandOptions,
  handler: RouteHandlerMethod,
): void {
  app.head(path, options, handler);
  app.get(path, options, handler);
}

/** Sends a document, with what says how long and for whom it may be kept. */
export function sendDocument(
  reply: FastifyReply,
  { bytes, contentType }: PublishedDocument,
  { control, vary }: { readonly control: string; readonly vary: string },
): FastifyReply {
  reply.headers({ 'cache-control': control, vary, 'x-content-type-options': 'nosniff' });
  return reply.type(contentType).send(bytes);
}

/** Describes the route of a document. @param forWhom whether all callers get the same. */
export function documentSchema(
  [operationId, summary, contentType]: readonly [operationId: string, summary: string, contentType: string],
  operation: Operation,
  forWhom: 'public' | 'private',
): FastifySchema {
  const headers = {
    ETag: header('Weak validator: the compressed document has the same'),
    'Cache-Control': header(`${forWhom}, max-age of the setting tokenRefreshHint`),
  };
  const schema = { type: contentType.includes('json') ? 'object' : 'string' };
  return {
    operationId,
    summary,
    headers: { type: 'object', properties: { 'If-None-Match': { type: 'string' } } },
    response: {
      200: { description: summary, headers, content: { [contentType]: { schema } } },
      304: { description: 'As the caller has it', headers, type: 'null' },
      ...refusedAt(operation),
    },
  };
}
