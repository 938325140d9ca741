import type { ClientRequest } from 'node:http';
import { Agent, type AgentOptions, request as requestSecurely } from 'node:https';
import type { Socket } from 'node:net';
import { type ConnectionOptions, connect, getCACertificates } from 'node:tls';

/** A proxy, and by what an https one is verified: the CA of the cluster or the trust store of the machine. */
export interface HttpProxy {
  readonly url: URL;
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'rejectUnauthorized'> | undefined;
}

/**
 * Opens a tunnel to a host by the CONNECT method of an HTTP proxy.
 *
 * @param signal ends the attempt.
 * @throws Error that names the proxy without its credentials.
 */
export function openTunnel(
  proxy: HttpProxy,
  target: { readonly host: string; readonly port: number },
  signal?: AbortSignal,
): Promise<Socket> {
  const { url } = proxy;
  const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
  return new Promise((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`proxy ${url.protocol}//${url.host} ${what}`));
    const asked = sendTo(proxy, authority, signal);
    asked.on('error', (error: NodeJS.ErrnoException) =>
      fail(`cannot be used: ${error.code ? `${error.message} (${error.code})` : error.message}`),
    );
    asked.on('response', (response) => {
      response.destroy();
      fail(`refused a tunnel to ${authority}: ${response.statusCode}`);
    });
    asked.on('connect', ({ statusCode = 0 }, socket: Socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        socket.destroy();
        const hint = statusCode === 407 ? '; give its user and password in the URL of the proxy' : '';
        return fail(`refused a tunnel to ${authority}: ${statusCode}${hint}`);
      }
      if (head.length > 0) socket.unshift(head);
      resolve(socket);
    });
    asked.end();
  });
}

/** An agent for HTTP/1.1 over TLS whose connections go through the proxy. */
export function tunnelAgent(proxy: HttpProxy, options: AgentOptions, signal?: AbortSignal): Agent {
  const agent = new Agent(options);
  agent.createConnection = (target, onCreate) => {
    const [host, port] = [target.host ?? '', Number(target.port)];
    openTunnel(proxy, { host, port }, signal).then(
      (socket) => onCreate?.(null, connect({ ...target, socket } as ConnectionOptions)),
      (error: Error) => onCreate?.(error, undefined as never),
    );
    return undefined;
  };
  return agent;
}

function sendTo({ url, tls }: HttpProxy, authority: string, signal: AbortSignal | undefined): ClientRequest {
  const options = {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...proxyAuthorization(url) },
    agent: false,
    ...(signal && { signal }),
  } as const;
  if (url.protocol === 'http:') {
    // An import of node:http would load undici too, at a cost of 8 MB.
    const { request } = process.getBuiltinModule('node:http');
    return request({ ...options, port: Number(url.port) || 80 });
  }
  const own = tls?.ca === undefined ? [] : [tls.ca].flat();
  const ca = [...own, ...getCACertificates('default'), ...getCACertificates('system')];
  return requestSecurely({
    ...options,
    port: Number(url.port) || 443,
    ca,
    ...(tls?.rejectUnauthorized === false && { rejectUnauthorized: false }),
  });
}

/** The header for the credentials in the URL of a proxy. */
export function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
