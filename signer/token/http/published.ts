import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { PublishedDocument } from '../../trust/published-documents.ts';

/** A document with its compressed form, whose validator is another one, as the bytes are (RFC 9110 8.8.3). */
export interface Served extends PublishedDocument {
  /** Made when it is first asked for, by another thread: the bundles of 1,000 trust domains take tens of milliseconds. */
  readonly gzipped: () => Promise<Buffer>;
  readonly gzippedEtag: string;
}

/**
 * Keeps the document of what is current ready to be served, such as a pool. That is replaced as a whole, never changed, so
 * the document is made once for each.
 */
export function createServed<T extends object>(
  source: () => T | undefined,
  documentOf: (current: T) => PublishedDocument | undefined,
): () => Served | undefined {
  const served = createServedByKey(source, documentOf);
  return () => served('');
}

/**
 * Bytes of the documents of one source that are kept, with their compressed forms, which are at most as long: the sets of
 * federated trust domains are only a few.
 */
const maxKeptBytes = 32 * 1024 * 1024;

/** As createServed, for the documents that a source has by key. */
export function createServedByKey<T extends object>(
  source: () => T | undefined,
  documentOf: (current: T, key: string) => PublishedDocument | undefined,
): (key: string) => Served | undefined {
  let last: T | undefined;
  const kept = new Map<string, Served>();
  let keptBytes = 0;

  function clear(): void {
    kept.clear();
    keptBytes = 0;
  }

  return (key) => {
    const current = source();
    if (!current) return undefined;
    if (last !== current) clear();
    last = current;
    if (kept.has(key)) return kept.get(key);
    const document = documentOf(current, key);
    if (!document) return undefined;
    const served = servable(document);
    const bytes = 2 * served.bytes.length;
    if (keptBytes + bytes > maxKeptBytes) clear();
    kept.set(key, served);
    keptBytes += bytes;
    return served;
  };
}

/** Makes a document ready to be served. */
export function servable(document: PublishedDocument): Served {
  let gzipped: Promise<Buffer> | undefined;
  return {
    ...document,
    gzipped() {
      gzipped ??= promisify(gzip)(document.bytes);
      return gzipped;
    },
    gzippedEtag: document.etag.replace(/"$/, '-gzip"'),
  };
}

/** What is answered to a GET with these headers: the document, or that the caller has it already. */
export function select(
  served: Served,
  headers: { readonly acceptEncoding: string | undefined; readonly ifNoneMatch: string | undefined },
): { readonly status: 200 | 304; readonly isGzipped: boolean; readonly etag: string } {
  const isGzipped = acceptsGzip(headers.acceptEncoding ?? '');
  // RFC 9110 13.1.2: compared weakly, so that a proxy which weakened the validator still saves the transfer.
  const held = (headers.ifNoneMatch ?? '').split(',').map((one) => one.trim().replace(/^W\//, ''));
  const isHeld = ['*', served.etag, served.gzippedEtag].some((etag) => held.includes(etag));
  return {
    status: isHeld ? 304 : 200,
    isGzipped,
    etag: isGzipped ? served.gzippedEtag : served.etag,
  };
}

function acceptsGzip(header: string): boolean {
  const weights = weightsIn(header);
  return [weights.get('gzip'), weights.get('*')].some((weight = 0) => weight > 0);
}

/** What an Accept or Accept-Encoding header names, in lower case, with its weight (RFC 9110 12.4.2). */
export function weightsIn(header: string): ReadonlyMap<string, number> {
  return new Map(
    header.split(',').map((range) => {
      const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
      return [name, weight === undefined ? 1 : Number(weight)] as const;
    }),
  );
}
