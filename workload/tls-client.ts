import { Agent, type AgentOptions } from 'node:https';
import type { Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Authorizer, Predicate } from './authorize.ts';
import { authorizerOf } from './authorizer.ts';
import { gate, issuersOf, verifySocket } from './gate.ts';
import { PeerRefusedError } from './peer-refused.ts';
import { contextOptions } from './tls-context.ts';
import type { BundleSource } from './trust-bundle.ts';
import { createPeerVerifier, type VerifyPeer } from './verify-peer.ts';
import type { X509Source } from './x509-source.ts';

export interface TlsClientOptions {
  /** The identity that the client shows. Without it, the client shows none, and `bundles` are needed. */
  readonly source?: X509Source;
  /** What verifies servers. Default: the bundles of `source`. */
  readonly bundles?: BundleSource;
  /** Which servers are accepted. There is no default. */
  readonly authorize: Authorizer | Predicate;
}

/** Options of a connection. How its peer is verified cannot be chosen here. */
export type ConnectOptions = Omit<
  ConnectionOptions,
  'session' | 'secureContext' | 'rejectUnauthorized' | 'checkServerIdentity' | 'key' | 'cert' | 'ca' | 'pfx'
>;

/** What undici asks a connector for. */
interface UndiciTarget {
  readonly hostname: string;
  readonly port: string;
  readonly servername?: string | null;
  readonly localAddress?: string | null;
  readonly httpSocket?: Socket | null;
}

/** Opens connections to servers whose SPIFFE ID the authorizer allows, always with the newest certificate. */
export interface TlsClient {
  /**
   * As `tls.connect`. The event `secureConnect` is emitted only for an accepted server; any other connection ends with the
   * event `error` and a PeerRefusedError. It is also the `createConnection` of `http2.connect`.
   */
  connect(options: ConnectOptions): TLSSocket;
  /** An agent for `node:https`. Its idle connections stay open when a new certificate comes. */
  httpsAgent(options?: AgentOptions): Agent;
  /** The `connect` option of an `Agent`, `Pool` or `Client` of undici, for HTTP/1.1. */
  undiciConnect(
    target: UndiciTarget,
    callback: (...result: [error: Error, socket: null] | [error: null, socket: TLSSocket]) => void,
  ): void;
  /** The parameters of `credentials.createFromSecureContext` of @grpc/grpc-js. */
  grpcCredentials(): [
    SecureContext,
    { checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined },
  ];
}

/** A connection that is not made within this time fails, as in undici. */
const connectTimeoutMs = 10_000;

/**
 * Makes a client for servers with an X509-SVID. The name of the host does not matter: the SPIFFE ID says who the server is.
 *
 * @example
 * ```js
 * import { get } from 'node:https';
 * import { exactly } from 'kubespiffe/authorize';
 * import { createTlsClient } from 'kubespiffe/tls-client';
 * import { openX509Source } from 'kubespiffe/x509-source';
 *
 * await using source = await openX509Source('/run/spiffe');
 * const client = createTlsClient({ source, authorize: exactly('spiffe://example.org/ns/shop/sa/db') });
 * const request = get('https://db.shop.svc', { agent: client.httpsAgent() });
 * request.on('response', (response) => response.pipe(process.stdout));
 * request.on('error', (error) => console.error(error.message));
 * ```
 *
 * @throws TypeError without an authorizer, or with neither `source` nor `bundles`.
 */
export function createTlsClient(options: TlsClientOptions): TlsClient {
  const { source, bundles = source } = options;
  if (!bundles) throw new TypeError('give a source or bundles, which verify the servers');
  const authorizer = authorizerOf(options.authorize);
  const ownId = () => source?.svid.id.uri;
  const verify = createPeerVerifier(() => ({ bundles: bundles.bundles, authorizer, ownId: ownId() }));
  const verifyServer = (socket: TLSSocket): SpiffeId => {
    const id = verifySocket(socket, verify);
    const { authorizationError } = socket;
    if (!authorizationError) return id;
    throw new PeerRefusedError('tls', `OpenSSL reports ${authorizationError}`, id.uri, ownId());
  };

  let made: { readonly context: SecureContext; readonly of: readonly unknown[] } | undefined;
  const secureContext = (): SecureContext => {
    const of = [source?.svid, bundles.bundles];
    if (made?.of.every((one, index) => one === of[index])) return made.context;
    made = { context: createSecureContext(contextOptions(source?.svid, bundles.bundles)), of };
    return made.context;
  };

  const open = (wanted: ConnectOptions): TLSSocket => {
    const socket = connect({
      ...wanted,
      session: undefined,
      secureContext: secureContext(),
      // Connections reach the gate, which refuses what OpenSSL does not accept, and says why.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    return gate(socket, 'secureConnect', verifyServer, (error) => socket.destroy(error));
  };

  return {
    connect: open,
    httpsAgent(agentOptions) {
      const agent = new Agent(agentOptions);
      agent.createConnection = (target) => open(target as ConnectOptions);
      return agent;
    },
    undiciConnect({ hostname, port, servername, localAddress, httpSocket }, callback) {
      const socket = open({
        host: hostname,
        port: Number(port || 443),
        ...(servername && { servername }),
        ...(localAddress && { localAddress }),
        ...(httpSocket && { socket: httpSocket }),
      });
      const onError = (error: Error) => callback(error, null);
      socket.setTimeout(connectTimeoutMs, () =>
        socket.destroy(new Error(`${hostname} did not answer in time`)),
      );
      socket.once('error', onError);
      socket.once('secureConnect', () => {
        socket.setTimeout(0);
        socket.off('error', onError);
        callback(null, socket);
      });
    },
    grpcCredentials() {
      // TLS reads only `context`, at each connection, so that a channel follows the certificate.
      const newest = {
        get context() {
          return secureContext().context;
        },
      };
      return [newest, { checkServerIdentity: (_host, certificate) => identityProblem(certificate, verify) }];
    },
  };
}

/** Why a server whose chain OpenSSL accepts is refused. */
function identityProblem(certificate: PeerCertificate, verify: VerifyPeer): Error | undefined {
  try {
    verify(certificate.raw, () => issuersOf(certificate));
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
