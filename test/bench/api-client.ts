import { readFile } from 'node:fs/promises';
import http2 from 'node:http2';

/** An answer of the API server. Times: milliseconds of epochMs(). */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly sentAt: number;
  readonly answeredAt: number;
}

/**
 * The bench's own way to the API server: one HTTP/2 connection and nothing else, so that what the bench does costs
 * as little as can be, and no code under test takes part in measuring itself.
 */
export interface ApiClient {
  /** Rejects when the connection breaks; the next call opens a new one. */
  send(
    method: string,
    path: string,
    body?: string,
    options?: { contentType?: string; headers?: Readonly<Record<string, string>> },
  ): Promise<Answer>;
  /**
   * Opens a watch, tells each event as its line of JSON, and says when it ended. The API server ends a watch whose
   * reader falls behind, so the reader must go on from where it was.
   */
  watch(path: string, onLine: (line: string, at: number) => void): Promise<Watch>;
  close(): void;
}

export interface Watch {
  readonly ended: Promise<void>;
  stop(): void;
}

/** What the API server may send before it must wait for us, in bytes: a burst's events must not stall a watch. */
const windowBytes = 16 * 1024 * 1024;

/** Milliseconds without a byte of an answer, after which a call has failed: above the API server's own limit of 60 s. */
const answerWithinMs = 75_000;

/** Milliseconds since the epoch, by a clock that all processes share, finer than Date.now. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

interface Kubeconfig {
  clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }];
  users: [{ user: { tokenFile?: string; 'client-certificate-data'?: string; 'client-key-data'?: string } }];
}

/** What a kubeconfig says: where the API server is, how to know it, and a token or a client certificate in PEM. */
export interface Access {
  readonly server: string;
  readonly ca: Buffer;
  readonly token: string | undefined;
  readonly identity: { readonly cert?: Buffer; readonly key?: Buffer };
}

/** @param kubeconfig a file made by test/cluster/kubeconfig.ts, which is JSON. */
export async function readAccess(kubeconfig: string): Promise<Access> {
  const config = JSON.parse(await readFile(kubeconfig, 'utf8')) as Kubeconfig;
  const [{ cluster }] = config.clusters;
  const [{ user }] = config.users;
  const decode = (base64: string | undefined) => Buffer.from(base64 ?? '', 'base64');
  const token = user.tokenFile === undefined ? undefined : await readFile(user.tokenFile, 'utf8');
  const identity = token
    ? {}
    : { cert: decode(user['client-certificate-data']), key: decode(user['client-key-data']) };
  return { server: cluster.server, ca: decode(cluster['certificate-authority-data']), token, identity };
}

/** @param kubeconfig as readAccess takes it. */
export async function openApi(kubeconfig: string): Promise<ApiClient> {
  const { server, ca, token, identity } = await readAccess(kubeconfig);
  const options = { ca, ...identity };
  const common = { accept: 'application/json', ...(token && { authorization: `Bearer ${token}` }) };

  let session: http2.ClientHttp2Session | undefined;
  function connection(): http2.ClientHttp2Session {
    if (session && !session.closed && !session.destroyed) return session;
    const opened = http2.connect(server, {
      ...options,
      settings: { initialWindowSize: windowBytes },
    });
    opened.on('connect', () => opened.setLocalWindowSize(windowBytes));
    session = opened;
    // A user of the connection learns of its end from a stream that fails.
    session.on('error', () => undefined);
    return session;
  }

  function open(method: string, path: string, body?: string, options: Parameters<ApiClient['send']>[3] = {}) {
    const headers = {
      ...common,
      ':method': method,
      ':path': path,
      ...(body !== undefined && { 'content-type': options.contentType ?? 'application/json' }),
      ...options.headers,
    };
    const stream = connection().request(headers, { endStream: body === undefined });
    stream.setEncoding('utf8');
    if (body !== undefined) stream.end(body);
    return stream;
  }

  return {
    send: (method, path, body, options) =>
      new Promise((resolve, reject) => {
        const sentAt = epochMs();
        const stream = open(method, path, body, options);
        stream.setTimeout(answerWithinMs, () => stream.destroy(new Error(`${method} ${path}: no answer`)));
        let status = 0;
        let text = '';
        stream.on('response', (headers) => {
          status = Number(headers[':status']);
        });
        stream.on('data', (chunk: string) => {
          text += chunk;
        });
        stream.on('error', reject);
        stream.on('close', () => {
          if (status === 0) reject(new Error(`${method} ${path}: the connection ended without an answer`));
          else resolve({ status, body: text, sentAt, answeredAt: epochMs() });
        });
      }),
    watch: (path, onLine) =>
      new Promise((resolve, reject) => {
        const stream = open('GET', path);
        let rest = '';
        stream.on('error', reject);
        stream.on('data', (chunk: string) => {
          const at = epochMs();
          const lines = (rest + chunk).split('\n');
          rest = lines.pop() ?? '';
          for (const line of lines) onLine(line, at);
        });
        stream.on('response', (headers) => {
          const status = Number(headers[':status']);
          const ended = new Promise<void>((end) => stream.on('close', end));
          if (status === 200) resolve({ ended, stop: () => stream.close(http2.constants.NGHTTP2_CANCEL) });
          else reject(new Error(`watch ${path}: ${status}`));
        });
      }),
    close: () => session?.destroy(),
  };
}
