import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeRoomForNew } from '../../client/room-for-new.ts';
import type { Health, HealthReport } from './health.ts';
import type { Metrics } from './metrics.ts';

/** Where to listen. An empty host means every address of the machine; port 0 means a free one. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

interface Needs {
  address: ListenAddress;
  metrics: Pick<Metrics, 'render' | 'contentType'>;
  health: Health;
  signal: AbortSignal;
}

/** That it is said at all shows that the event loop turns; a part that fails ends the process. */
const alive: HealthReport = { ok: true, checks: [{ name: 'event-loop', ok: true, reason: 'turning' }] };

/**
 * Serves `/metrics`, `/livez` and `/readyz` until the signal aborts. The two checks answer 200 `ok` or 503 with
 * each check and its reason. As with kube-apiserver, `?verbose` shows the checks in either case, and
 * `?exclude=NAME`, once or more, ignores these checks.
 *
 * Rejects when the address cannot be listened on.
 *
 * @returns the address in use, as `http://host:port`, its port, and what resolves when the server has closed.
 */
export async function serveObservability({ address, metrics, health, signal }: Needs) {
  // An import of node:http would load undici too, at a cost of 3 MB.
  const { createServer } = process.getBuiltinModule('node:http');
  const server = createServer(
    {
      // Probes and scrapes are small and quick; a slower client is neither.
      headersTimeout: 5_000,
      requestTimeout: 5_000,
      connectionsCheckingInterval: 2_500,
      keepAliveTimeout: 30_000,
      maxHeaderSize: 8 * 1024,
    },
    (request, response) => {
      answer(request, response, metrics, health).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined);
      });
    },
  );
  makeRoomForNew(server);
  server.listen(address.port, ...(address.host ? [address.host] : []));
  await once(server, 'listening');

  const closed = once(server, 'close');
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });

  const { port } = server.address() as AddressInfo;
  const host = address.host === '' ? 'localhost' : address.host;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, port, closed };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  metrics: Needs['metrics'],
  health: Health,
): Promise<void> {
  request.resume();
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return sendText(response, 405, 'only GET and HEAD are answered here\n');
  }
  const [path, query = ''] = (request.url ?? '/').split('?', 2);
  const parameters = new URLSearchParams(query);
  const isVerbose = parameters.has('verbose');
  switch (path) {
    case '/metrics': {
      const body = await metrics.render();
      response.setHeader('Content-Type', metrics.contentType);
      response.end(body);
      return;
    }
    case '/livez':
      return sendReport(response, 'livez', alive, isVerbose);
    case '/readyz':
      return sendReport(response, 'readyz', health.ready(parameters.getAll('exclude')), isVerbose);
    default:
      return sendText(response, 404, 'try /metrics, /livez or /readyz\n');
  }
}

function sendReport(response: ServerResponse, name: string, report: HealthReport, isVerbose: boolean): void {
  const lines = report.checks.map((check) => `[${check.ok ? '+' : '-'}]${check.name} ${check.reason}`);
  lines.push(`${name} check ${report.ok ? 'passed' : 'failed'}`);
  const isShort = report.ok && !isVerbose;
  sendText(response, report.ok ? 200 : 503, isShort ? 'ok\n' : `${lines.join('\n')}\n`);
}

function sendText(response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Cache-Control', 'no-store');
  response.end(body);
}
