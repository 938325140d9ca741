import { Agent, type RequestOptions, request } from 'node:http';
import { request as requestSecurely, Agent as SecureAgent } from 'node:https';
import type { Connection } from './connection.ts';
import type { Credentials } from './credentials.ts';
import { endpointOf } from './endpoint.ts';

/**
 * HTTP/1.1, for a server or a proxy that speaks nothing else: connections that are kept open, each with one request at
 * a time. What is beyond `mostConnections` waits.
 */
export function openHttp1(credentials: Credentials, mostConnections: number): Connection {
  const isPlain = credentials.server.protocol === 'http:';
  const agent = new (isPlain ? Agent : SecureAgent)({ keepAlive: true, maxSockets: mostConnections });
  return {
    send({ method, path, headers, body }, receiver) {
      let isOver = false;
      let isConnected = false;
      const options: RequestOptions = { ...endpointOf(credentials), method, path, headers, agent };
      const sent = isPlain ? request(options) : requestSecurely(options);

      function end(tell: () => void): void {
        if (isOver) return;
        isOver = true;
        tell();
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
