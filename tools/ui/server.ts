import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import type { PageFile } from './page-files.ts';

/** The result for a token: `unknown` is not good, `forbidden` is good and lacks the right to look. */
export type Admission = 'admitted' | 'unknown' | 'forbidden';

export interface UiServerNeeds {
  /** Files of the page by their path; all other paths get `/`. */
  readonly files: ReadonlyMap<string, PageFile>;
  readonly admit: (token: string) => Promise<Admission>;
  /** What each path below `/api/` answers. Undefined is a 404. */
  readonly answers: Readonly<Record<string, (query: URLSearchParams) => Promise<unknown>>>;
}

/** Everything that is loaded comes from this server, nothing frames it, and no form sends anything anywhere. */
const headers = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

/**
 * The web view: files of a page, and JSON that only callers with a token get. It only reads. Requests for other hosts than
 * this machine are refused: a name from another domain may resolve to a loopback address (DNS rebinding).
 */
export function createUiServer(needs: UiServerNeeds): Server {
  const server = createServer((request, response) => {
    answer(needs, request)
      .catch(failed)
      .then((answered) => send(request, response, answered));
  });
  server.headersTimeout = 10_000;
  server.requestTimeout = 10_000;
  return server;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
}

const json = (status: number, value: unknown): Answer => ({
  ...{ status, type: 'application/json', body: JSON.stringify(value) },
});
const bindReader = 'bind the ClusterRole kubespiffe-view-reader';
const refused = (status: number, what: string, hint?: string) => json(status, { error: what, hint });

async function answer({ files, admit, answers }: UiServerNeeds, request: IncomingMessage): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return refused(405, 'only GET is served');
  if (!isThisMachine(request.headers.host)) {
    return refused(421, 'the Host header names another machine', 'open http://127.0.0.1 or http://localhost');
  }
  const url = URL.parse(request.url ?? '/', 'http://localhost');
  if (!url) return refused(400, 'the path is not valid');
  if (!url.pathname.startsWith('/api/')) {
    const file = files.get(url.pathname) ?? files.get('/');
    return file ? { status: 200, ...file } : refused(404, 'there is no such file');
  }
  const [, token = ''] = /^Bearer ([\w.~+/=-]+)$/.exec(request.headers.authorization ?? '') ?? [];
  const admission = token === '' ? 'unknown' : await admit(token);
  if (admission === 'unknown') return refused(401, 'the token is missing or not valid');
  if (admission === 'forbidden') return refused(403, 'the token gives no right to see this page', bindReader);
  const name = url.pathname.slice('/api/'.length);
  const value = Object.hasOwn(answers, name) ? await answers[name]?.(url.searchParams) : undefined;
  return value === undefined ? refused(404, 'there is nothing of this name') : json(200, value);
}

/** What the API server or a file says is shown, as on the command line. */
function failed(error: unknown): Answer {
  const hint = error instanceof KubespiffeError ? error.hint : undefined;
  return refused(502, messageOf(error), hint);
}

function send({ method }: IncomingMessage, response: ServerResponse, { status, type, body }: Answer): void {
  response.writeHead(status, { ...headers, 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(method === 'HEAD' ? undefined : body);
}

function isThisMachine(host = ''): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(host.replace(/:\d+$/, ''));
}
