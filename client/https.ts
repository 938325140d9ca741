import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';
import { messageOf } from '../spiffe/errors.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import { createByteBuffer } from './byte-buffer.ts';
import { proxyFromEnvironment } from './proxy-environment.ts';
import { tunnelAgent } from './proxy-tunnel.ts';

export interface HttpsRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Which servers are trusted. */
  readonly trust: Pick<RequestOptions, 'ca' | 'checkServerIdentity' | 'allowPartialTrustChain'> & {
    /** A context made in advance, instead of `ca`: making one of the system's roots takes tens of milliseconds. */
    readonly secureContext?: SecureContext;
  };
  /** Finds the addresses of a host name; that of the system if absent. */
  readonly lookup?: LookupFunction | undefined;
  /** What the client shows, PEM: private key, certificate and intermediates. */
  readonly client?: { readonly key: string; readonly cert: string };
  /** Where HTTPS_PROXY and NO_PROXY are looked for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Longest answer that is read. */
  readonly maxBytes: number;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** One request over TLS 1.2 or newer, on a connection of its own. Follows no redirect. Never throws. */
export async function sendHttps(wanted: HttpsRequest): Promise<Result<HttpsAnswer>> {
  const { url, method, headers, body, trust, lookup, client, env, signal } = wanted;
  try {
    const proxy = proxyFromEnvironment(url, env);
    const options: RequestOptions = {
      ...trust,
      ...client,
      ...(lookup && { lookup }),
      method,
      headers: { ...headers },
      signal,
      agent: proxy ? tunnelAgent({ url: proxy }, {}, signal) : false,
      minVersion: 'TLSv1.2',
    };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request(url, options).on('response', resolve).on('error', reject).end(body);
    });
    const read = await readBody(response, wanted.maxBytes);
    if (!read) return failure(`${url.host}: the answer is longer than ${wanted.maxBytes} bytes`);
    return success({ status: response.statusCode ?? 0, headers: response.headers, body: read });
  } catch (error) {
    const said = signal.aborted ? ' did not answer in time' : `: ${messageOf(error)}`;
    return failure(`${url.host}${said}`);
  }
}

async function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  const body = createByteBuffer();
  for await (const chunk of response) {
    body.append(chunk as Buffer);
    if (body.length > maxBytes) return undefined;
  }
  return body.bytes();
}
