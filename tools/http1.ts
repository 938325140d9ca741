import { Agent, type RequestOptions, request } from 'node:http';
import { request as requestSecurely, Agent as SecureAgent } from 'node:https';
import { proxyAuthorization, tunnelAgent } from '../client/proxy-tunnel.ts';
import type { Connection, OpenConnection } from '../signer/kube/connection.ts';
import type { Credentials } from '../signer/kube/credentials.ts';
import { endpointOf } from '../signer/kube/endpoint.ts';
import { openHttp2 } from '../signer/kube/http2.ts';

/** Each request takes a connection of its own. Further ones wait. */
const mostConnections = 6;

/**
 * How commands reach the API server: over HTTP/2 like the signer, and over HTTP/1.1 through what supports nothing else,
 * such as `kubectl proxy`, which has no TLS.
 */
export const openOfAnyVersion: OpenConnection = ({ credentials, time }) => {
  const fallBack = () => openHttp1(credentials);
  return credentials.server.protocol === 'http:' ? fallBack() : openHttp2({ credentials, time, fallBack });
};

function openHttp1(credentials: Credentials): Connection {
  const isPlain = credentials.server.protocol === 'http:';
  const options = { keepAlive: true, maxSockets: mostConnections };
  const { proxy } = credentials;
  const secureAgent = () => (proxy ? tunnelAgent(proxy, options) : new SecureAgent(options));
  const agent = isPlain ? new Agent(options) : secureAgent();
  return {
    send({ method, path, headers, body }, receiver) {
      let isOver = false;
      let isConnected = false;
      const sent = isPlain
        ? request({ ...plainTarget(credentials, path, headers), method, agent })
        : requestSecurely({ ...endpointOf(credentials), method, path, headers, agent });

      function end(settle: () => void): void {
        if (isOver) return;
        isOver = true;
        settle();
      }
      const fail = (error: unknown) => end(() => receiver.onFailure(error, !isConnected));

      sent.on('socket', (socket) => {
        isConnected = !socket.connecting;
        socket.once(isPlain ? 'connect' : 'secureConnect', () => {
          isConnected = true;
        });
      });
      sent.on('error', fail);
      sent.on('response', (response) => {
        receiver.onHead(response.statusCode ?? 0, response.headers);
        response.on('data', (chunk: Buffer) => isOver || receiver.onData(chunk));
        response.on('error', fail);
        response.on('end', () => end(() => receiver.onEnd()));
      });
      sent.end(body);
      return {
        pause: () => sent.socket?.pause(),
        resume: () => sent.socket?.resume(),
        cancel() {
          isOver = true;
          sent.destroy();
        },
      };
    },
    close: () => agent.destroy(),
  };
}

/** A request to an http server through a proxy names the whole URL (RFC 9112 3.2.2). */
function plainTarget(
  credentials: Credentials,
  path: string,
  headers: Readonly<Record<string, string | string[]>>,
): RequestOptions {
  const { server, proxy } = credentials;
  if (!proxy) return { ...endpointOf(credentials), path, headers };
  return {
    host: proxy.url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(proxy.url.port) || 80,
    path: `${server.origin}${path}`,
    headers: { ...headers, host: server.host, ...proxyAuthorization(proxy.url) },
  };
}
