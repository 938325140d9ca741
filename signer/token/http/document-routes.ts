import type { FastifyReply, FastifySchema } from 'fastify';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import type { Operation } from '../../observe/refusal-rows.ts';
import type { Publication } from '../../trust/publication.ts';
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
import { createServed, type Served, select, servable } from './published.ts';

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
export type Documents = Readonly<Partial<Record<DocumentName, () => Checked<Served>>>>;

/**
 * The documents of a trust domain, ready to be served by any listener.
 *
 * @param settings issuer: of the JWT-SVIDs, without which there is no discovery. refreshHintSeconds: how often others
 *   should read them again.
 */
export function createDocuments(
  publication: () => Publication | undefined,
  settings: { readonly issuer: string | undefined; readonly refreshHintSeconds: number },
): Documents {
  const { issuer, refreshHintSeconds } = settings;
  const of = (documentOf: (current: Publication) => PublishedDocument | undefined) => {
    const served = createServed(publication, documentOf);
    return () => whenRead(served(), publication());
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
export function whenRead(served: Served | undefined, publication: Publication | undefined): Checked<Served> {
  if (served) return pass(served);
  return refuse(
    'NotReady',
    publication ? 'the pool has nothing to publish here' : 'the pool was not read yet',
  );
}

/** The OpenAPI document of the routes that a listener has, once it is ready. */
export function openApiOf({ app }: Pick<Http, 'app'>): () => Checked<Served> {
  let served: Served | undefined;
  return () => {
    served ??= servable(published(`${JSON.stringify(app.swagger(), undefined, 2)}\n`, 'application/json'));
    return pass(served);
  };
}

/** Adds a route for each document. @param maxAgeSeconds how long a reader may keep it. */
export function addDocumentRoutes(http: Http, documents: Documents, maxAgeSeconds: number): void {
  for (const [name, current] of Object.entries(documents) as [DocumentName, () => Checked<Served>][]) {
    http.app.get(
      paths[name],
      { schema: documentSchema(described[name], 'document', 'public') },
      async (_request, reply) => {
        const document = current();
        if (!document.ok) return http.refused(reply, document);
        const caching = { control: `public, max-age=${maxAgeSeconds}`, vary: 'Accept-Encoding' };
        return sendDocument(reply, document.value, caching);
      },
    );
  }
}

/** Answers a GET with a document, or with 304 if the caller has it already. */
export async function sendDocument(
  reply: FastifyReply,
  document: Served,
  caching: { readonly control: string; readonly vary: string },
): Promise<FastifyReply> {
  const { headers } = reply.request;
  const selected = select(document, {
    acceptEncoding: headers['accept-encoding']?.toString(),
    ifNoneMatch: headers['if-none-match'],
  });
  reply.code(selected.status).headers({
    'cache-control': caching.control,
    etag: selected.etag,
    vary: caching.vary,
    'x-content-type-options': 'nosniff',
  });
  if (selected.status === 304) return reply.send();
  if (selected.isGzipped) reply.header('content-encoding', 'gzip');
  const body = selected.isGzipped ? await document.gzipped() : document.bytes;
  return reply.type(document.contentType).send(body);
}

/** Describes the route of a document. @param forWhom whether everybody gets the same. */
export function documentSchema(
  [operationId, summary, contentType]: readonly [operationId: string, summary: string, contentType: string],
  operation: Operation,
  forWhom: 'public' | 'private',
): FastifySchema {
  const headers = {
    ETag: header('Strong validator of these bytes'),
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
