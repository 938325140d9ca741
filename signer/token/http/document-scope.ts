import { hash } from 'node:crypto';
import compress from '@fastify/compress';
import etag from '@fastify/etag';
import type { onSendAsyncHookHandler } from 'fastify';
import type { Http } from './http.ts';

/**
 * Adds routes whose answers get an ETag and are compressed. They are for documents only: the length of a compressed answer can
 * give away a secret in it (BREACH).
 */
export async function addDocuments(http: Http, add: (http: Http) => void): Promise<void> {
  await http.app.register(async (app) => {
    // It is of the bytes before compression. A strong validator must not be the same for both encodings (RFC 9110 8.8.3).
    await app.register(etag, { hashFn: createHashes(), weak: true, replyWith304: false });
    app.addHook('onSend', notModified);
    app.addHook('onSend', plainIfCostly);
    await app.register(compress, {
      // Clients that take any encoding take gzip. A second one would gain little for documents of a few kilobytes.
      encodings: ['gzip', 'identity'],
      customTypes: /^application\//,
      syncThreshold: maxSyncBytes,
      globalDecompression: false,
    });
    add({ ...http, app });
  });
}

/** Up to this length, gzip takes at most 0.4 ms. Longer ones would become streams, of which each takes 180 KB of memory. */
const maxSyncBytes = 32 * 1024;
/** Browsers send some 30 characters. The plugin reads one at a time, with each `*` as `gzip`: 2 ms for the longest header. */
const maxAcceptLength = 256;

/** The hash of each document, made once: that of 421 KB takes 0.3 ms, and a document is sent many times. */
function createHashes(): (payload: string | Buffer) => string {
  const known = new WeakMap<Buffer, string>();
  return (payload) => {
    if (typeof payload === 'string') return hash('sha256', payload, 'base64');
    const made = known.get(payload) ?? hash('sha256', payload, 'base64');
    known.set(payload, made);
    return made;
  };
}

/**
 * Answers 304 in place of the etag plugin, which replaces refusals as well (RFC 9110 13.2.1), sends `Content-Length: 0` (8.6),
 * and does not know lists and `*` (13.1.2).
 */
const notModified: onSendAsyncHookHandler = async ({ headers }, reply, payload) => {
  if (reply.statusCode !== 200) {
    reply.removeHeader('etag');
    return payload;
  }
  if (!isHeld(headers['if-none-match'], String(reply.getHeader('etag')))) return payload;
  reply.code(304);
  return null;
};

/** Whether If-None-Match names this weak validator. The comparison is weak, so a strong one with the same text matches. */
function isHeld(header: string | undefined, weak: string): boolean {
  const held = (header ?? '').split(',').map((one) => one.trim());
  return ['*', weak, weak.slice('W/'.length)].some((one) => held.includes(one));
}

/** Any answer may be plain (RFC 9110 12.5.3). Nobody can make a refusal, or a long document, cost more than that. */
const plainIfCostly: onSendAsyncHookHandler = async ({ headers }, reply, payload) => {
  const isLong = Buffer.isBuffer(payload) && payload.length > maxSyncBytes;
  const isCheap =
    reply.statusCode === 200 && !isLong && (headers['accept-encoding'] ?? '').length <= maxAcceptLength;
  if (!isCheap) delete headers['accept-encoding'];
  return payload;
};
