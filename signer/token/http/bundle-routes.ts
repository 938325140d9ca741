import type { FastifyRequest, FastifySchema } from 'fastify';
import { type Checked, type Refused, refuse } from '../../observe/checked.ts';
import type { Operation } from '../../observe/refusal-rows.ts';
import type { Publication, PublicationView } from '../../trust/publication.ts';
import {
  bundleMapDocument,
  type PublishedDocument,
  published,
  spiffeBundleDocument,
} from '../../trust/published-documents.ts';
import { noPeers } from '../../trust/siblings.ts';
import type { FederatedWith, FindFederatedWith } from '../svid/federated-with.ts';
import { addDocumentRoute, documentSchema, sendDocument, whenRead } from './document-routes.ts';
import type { Http } from './http.ts';
import { registration } from './openapi.ts';
import { paths } from './paths.ts';
import { createServedByKey } from './published.ts';

export interface BundlesNeeds {
  readonly trustDomain: string;
  readonly publication: PublicationView;
  /** JSON of the bundles of other trust domains by their names. Replaced when one changes; undefined while not known. */
  readonly peers: () => ReadonlyMap<string, string> | undefined;
  readonly refreshHintSeconds: number;
}

/** The bundles of this and of other trust domains, for callers that may get some of them. */
export function createBundles({ trustDomain, publication, peers, refreshHintSeconds }: BundlesNeeds) {
  const sources = pairOf(publication.current, () => peers() ?? noPeers);
  const own = (current: Publication) => spiffeBundleDocument(current.pool, refreshHintSeconds, current);
  const maps = createServedByKey(sources, ([current, others], names) =>
    bundleMapDocument(trustDomain, own(current), chosen(others, names)),
  );
  const single = createServedByKey(sources, ([current, others], name) =>
    name === trustDomain ? own(current) : documentOf(others.get(name)),
  );

  return {
    /** Our own bundle and those that the caller may have, as gRPC reads them (proposal A87). */
    mapFor({ trustDomains }: FederatedWith): Checked<PublishedDocument> {
      const held = peers();
      // A client replaces what it has by this map, so a map with too few would end its trust.
      if (!held && (trustDomains === 'all' || trustDomains.length > 0)) return unread;
      return whenRead(maps(trustDomains === 'all' ? everything : heldOf(trustDomains, held)), publication);
    },
    /** The bundle of one trust domain, as its publisher has it. */
    bundleFor(name: string, { trustDomains, because }: FederatedWith): Checked<PublishedDocument> {
      if (name === trustDomain) return whenRead(single(name), publication);
      if (trustDomains !== 'all' && !trustDomains.includes(name)) return notFederated(name, because);
      const held = peers();
      if (!held) return unread;
      if (!held.has(name)) return notFederated(name, 'no bundle of it is held');
      return whenRead(single(name), publication);
    },
  };
}

const unread = refuse('NotReady', 'the FederatedTrustDomains were not read yet');

/** No trust domain has this name. */
const everything = '*';

/** Only the names that are held: a registration may name any, and each key is a document in memory. */
function heldOf(names: readonly string[], held = noPeers): string {
  return [...new Set(names)]
    .filter((name) => held.has(name))
    .sort()
    .join(' ');
}

function chosen(all: ReadonlyMap<string, string>, names: string): ReadonlyMap<string, string> {
  if (names === everything) return all;
  const wanted = new Set(names.split(' '));
  return new Map([...all].filter(([name]) => wanted.has(name)));
}

const documentOf = (text: string | undefined): PublishedDocument | undefined =>
  text === undefined ? undefined : published(text, 'application/json');

const notFederated = (name: string, why: string): Refused =>
  refuse('TrustDomainNotFederated', `${name}: ${why}`);

/** Two sources as one, which gives another pair whenever one of the two is another. */
function pairOf<S, T>(first: () => S | undefined, second: () => T): () => readonly [S, T] | undefined {
  let last: readonly [S, T] | undefined;
  return () => {
    const one = first();
    if (one === undefined) return undefined;
    const other = second();
    if (last?.[0] !== one || last[1] !== other) last = [one, other];
    return last;
  };
}

/**
 * Adds `/bundles` and `/bundles/{trustDomain}`. They are not compressed: for 400 KB that takes 7 ms with each answer, more than
 * one core at the rate that one address may have.
 *
 * @param maxAgeSeconds how long a reader may keep them.
 */
export function addBundleRoutes(
  http: Http,
  bundles: ReturnType<typeof createBundles>,
  find: FindFederatedWith,
  maxAgeSeconds: number,
): void {
  const add = (
    path: string,
    schema: FastifySchema,
    select: (granted: FederatedWith, request: FastifyRequest) => Checked<PublishedDocument>,
  ) =>
    addDocumentRoute(http, path, { schema, compress: false }, async (request, reply) => {
      const { registration } = request.query as { registration?: unknown };
      const document = await http.answered(reply, async (presented, context) => {
        if (registration !== undefined && typeof registration !== 'string')
          return refuse('RequestMalformed', 'the query has more than one registration');
        const granted = await find(presented, context, registration);
        return granted.ok ? select(granted.value, request) : granted;
      });
      if (!document) return reply;
      // Another caller may get another answer.
      const caching = { control: `private, max-age=${maxAgeSeconds}`, vary: 'authorization' };
      return sendDocument(reply, document, caching);
    });
  add(paths.bundles, schemaOf('getBundles', 'bundles', every), (granted) => bundles.mapFor(granted));
  const params = { type: 'object', properties: { trustDomain: { type: 'string', maxLength: 255 } } };
  add(paths.bundleOf, { ...schemaOf('getBundleOf', 'bundle-of', one), params }, (granted, { params }) =>
    bundles.bundleFor((params as { trustDomain: string }).trustDomain, granted),
  );
}

const every = 'SPIFFE bundles of this trust domain and of those that the caller is federated with';
const one = 'SPIFFE bundle of one trust domain: this one, or one that the caller is federated with';

function schemaOf(operationId: string, operation: Operation, summary: string): FastifySchema {
  return {
    ...documentSchema([operationId, summary, 'application/json'], operation, 'private'),
    // Without a credential, the setting federateByDefault decides.
    security: [{}, { serviceAccountToken: [] }, { clientCertificate: [] }],
    querystring: { type: 'object', properties: { registration } },
  };
}
