import type { PublishedDocument } from '../../trust/published-documents.ts';

/**
 * Keeps the document of what is current ready to be served, such as a pool. That is replaced as a whole, never changed, so
 * the document is made once for each.
 */
export function createServed<T extends object>(
  source: () => T | undefined,
  documentOf: (current: T) => PublishedDocument | undefined,
): () => PublishedDocument | undefined {
  const served = createServedByKey(source, documentOf);
  return () => served('');
}

/** Bytes of the documents of one source that are kept: the sets of federated trust domains are only a few. */
const maxKeptBytes = 32 * 1024 * 1024;

/** As createServed, for the documents that a source has by key. */
export function createServedByKey<T extends object>(
  source: () => T | undefined,
  documentOf: (current: T, key: string) => PublishedDocument | undefined,
): (key: string) => PublishedDocument | undefined {
  let last: T | undefined;
  const kept = new Map<string, PublishedDocument>();
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
    if (keptBytes + document.bytes.length > maxKeptBytes) clear();
    kept.set(key, document);
    keptBytes += document.bytes.length;
    return document;
  };
}
