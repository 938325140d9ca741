import { type ClientHttp2Stream, constants } from 'node:http2';
import { KubespiffeError } from '../../spiffe/errors.ts';
import type { Connection, InFlight, Outgoing, Receiver } from './connection.ts';
import type { Credentials } from './credentials.ts';
import { type OpenSession, openSession } from './http2-session.ts';
import type { Time } from './time.ts';

/** Between two PINGs on an open connection, in milliseconds. */
const pingIntervalMs = 5_000;
/** A connection without an answer to a PING for this long is dead, in milliseconds. */
const deadAfterMs = 12_000;

interface Link extends OpenSession {
  streams: number;
  /** Time of the last answer to a PING, in monotonic milliseconds. */
  heardAt: number;
  stopPings: () => void;
}

interface Entry {
  readonly outgoing: Outgoing;
  readonly receiver: Receiver;
  /** Undefined while it waits for a connection or a free stream. */
  flight: InFlight | undefined;
  /** Set when nothing more may be reported for it. */
  isOver: boolean;
  wasRefused: boolean;
}

/**
 * One HTTP/2 connection. Requests share it as streams, at most as many at once as the server allows; the rest wait
 * here. A request that the server has certainly not acted on (GOAWAY, REFUSED_STREAM: RFC 9113 8.7) is sent once
 * more, on a new connection if needed; a request that was cut is a failure. PINGs detect a peer that has vanished, so
 * that an idle watch does not wait on a dead connection.
 *
 * @throws KubespiffeError CONFIG_INVALID for a server without TLS.
 */
export function openHttp2(needs: {
  readonly credentials: Credentials;
  readonly time: Time;
  /** Makes what takes over where the server does not speak HTTP/2. Requests fail there when it is left out. */
  readonly fallBack?: () => Connection;
}): Connection {
  const { credentials, time } = needs;
  const { monotonic, timer } = time;
  const { host, protocol, origin } = credentials.server;
  if (protocol !== 'https:') {
    const hint = 'use the https URL of the API server itself, not that of `kubectl proxy`';
    throw new KubespiffeError('CONFIG_INVALID', `the API server is ${origin}, which has no TLS; ${hint}`);
  }
  const waiting = new Set<Entry>();
  // Includes connections that finish their requests after a GOAWAY.
  const links = new Set<Link>();
  /** The one that takes new requests. */
  let link: Link | undefined;
  /** What has taken over. */
  let successor: Connection | undefined;
  let isConnecting = false;
  let isClosed = false;

  function startWaiting(): void {
    // The session may have ended without its events so far; it then throws.
    if (link?.session.closed || link?.session.destroyed) link = undefined;
    // The server authenticates every request of the connection by the certificate of its handshake.
    const { cert } = credentials.tls;
    if (link && link.certificate !== cert && link.certificate?.toString() !== cert?.toString()) {
      link.session.close();
      link = undefined;
    }
    if (link === undefined && !isConnecting && waiting.size > 0 && !isClosed) void connect();
    for (const entry of waiting) {
      if (link === undefined || link.streams >= mostStreams(link)) return;
      waiting.delete(entry);
      start(entry, link);
    }
  }

  function start(entry: Entry, on: Link): void {
    const { outgoing, receiver } = entry;
    const stream = on.session.request(
      { ':method': outgoing.method, ':path': outgoing.path, ':authority': host, ...outgoing.headers },
      { endStream: outgoing.body === undefined },
    );
    on.streams += 1;
    entry.flight = {
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      cancel: () => stream.close(constants.NGHTTP2_CANCEL),
    };
    let reason: unknown;
    // Node emits `response` one tick late, and `data` at once: the body of a
    // short answer may arrive first.
    let beforeHead: Buffer[] | undefined = [];
    const onData = (chunk: Buffer) => {
      if (!entry.isOver) receiver.onData(chunk);
    };
    stream.on('response', (headers) => {
      if (!entry.isOver) receiver.onHead(Number(headers[':status']), headers);
      const early = beforeHead ?? [];
      beforeHead = undefined;
      early.forEach(onData);
    });
    stream.on('data', (chunk: Buffer) => {
      if (beforeHead) beforeHead.push(chunk);
      else onData(chunk);
    });
    stream.on('end', () => {
      if (entry.isOver || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
      entry.isOver = true;
      receiver.onEnd();
    });
    stream.on('error', (error) => {
      reason = error;
    });
    stream.on('close', () => {
      on.streams -= 1;
      entry.flight = undefined;
      if (!entry.isOver) cutShort(entry, stream, reason);
      // A stream that has ended is in memory until V8 next collects old objects. Its request and answer must not be.
      stream.removeAllListeners().on('error', ignore);
      startWaiting();
    });
    if (outgoing.body !== undefined) stream.end(outgoing.body);
  }

  function cutShort(entry: Entry, stream: ClientHttp2Stream, reason: unknown): void {
    // A stream without an id was requested from a session that had just ended.
    const isUnsent = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || stream.id === undefined;
    if (isUnsent && !entry.wasRefused) {
      entry.wasRefused = true;
      entry.flight = undefined;
      waiting.add(entry);
    } else {
      entry.isOver = true;
      entry.receiver.onFailure(reason ?? new Error('the connection was closed'), isUnsent);
    }
  }

  async function connect(): Promise<void> {
    isConnecting = true;
    try {
      const opened = await openSession(credentials, time);
      if (isClosed) opened?.cut();
      else if (opened) take(opened);
      else if (needs.fallBack) moveTo(needs.fallBack());
      else throw new Error(noHttp2(host));
    } catch (error) {
      failWaiting(error);
    }
    isConnecting = false;
    startWaiting();
  }

  function take(opened: OpenSession): void {
    const taken: Link = { ...opened, streams: 0, heardAt: monotonic(), stopPings: ignore };
    link = taken;
    links.add(taken);
    pingLater(taken);
    taken.session.on('goaway', () => retire(taken));
    taken.session.on('close', () => {
      taken.stopPings();
      links.delete(taken);
      retire(taken);
    });
  }

  /** A connection that takes no more requests. */
  function retire(old: Link): void {
    if (link !== old) return;
    link = undefined;
    startWaiting();
  }

  function failWaiting(error: unknown): void {
    const failed = [...waiting];
    waiting.clear();
    for (const entry of failed) {
      entry.isOver = true;
      entry.receiver.onFailure(error, true);
    }
  }

  function pingLater(on: Link): void {
    on.stopPings = timer(() => {
      if (on.session.destroyed) return;
      if (monotonic() - on.heardAt >= deadAfterMs) {
        return on.cut(new Error(`the API server has not answered a PING for ${deadAfterMs / 1000} s`));
      }
      on.session.ping((error) => {
        if (!error) on.heardAt = monotonic();
      });
      pingLater(on);
    }, pingIntervalMs);
  }

  function moveTo(other: Connection): void {
    successor = other;
    for (const entry of waiting) entry.flight = other.send(entry.outgoing, entry.receiver);
    waiting.clear();
  }

  function close(): void {
    isClosed = true;
    successor?.close();
    for (const each of links) each.cut();
    failWaiting(new Error('the connection was closed by the signer'));
  }

  return {
    send(outgoing, receiver) {
      if (successor) return successor.send(outgoing, receiver);
      const entry: Entry = { outgoing, receiver, flight: undefined, isOver: false, wasRefused: false };
      waiting.add(entry);
      startWaiting();
      return {
        pause: () => entry.flight?.pause(),
        resume: () => entry.flight?.resume(),
        cancel() {
          entry.isOver = true;
          waiting.delete(entry);
          entry.flight?.cancel();
        },
      };
    },
    close,
  };
}

function ignore(): void {}

const noHttp2 = (host: string) =>
  `${host} does not speak HTTP/2, which is required: remove --disable-http2-serving from the API server, ` +
  'or the proxy in front of it that speaks only HTTP/1.1';

function mostStreams({ session }: Link): number {
  return session.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY;
}
