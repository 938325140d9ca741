import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** The TCP part in front of the TLS server: it can break and hold connections below TLS. */
export function createFront() {
  const pairs = new Map<number, { outer: Socket; inner: Socket }>();
  let frozen = false;
  let refusing = false;
  let total = 0;
  let innerPort = 0;
  const server = createServer({ pauseOnConnect: true }, (outer) => {
    outer.on('error', () => {});
    if (refusing) return void outer.resetAndDestroy();
    total += 1;
    const inner = connect(innerPort, '127.0.0.1');
    inner.on('error', () => outer.destroy());
    inner.on('connect', () => {
      const key = inner.localPort ?? 0;
      pairs.set(key, { outer, inner });
      outer.on('close', () => {
        pairs.delete(key);
        inner.destroy();
      });
      inner.on('close', () => outer.destroy());
      if (!frozen) join(outer, inner);
    });
  });
  const resetPair = (pair: { outer: Socket } | undefined) => void pair?.outer.resetAndDestroy();
  return {
    listen: async (port: number) => {
      innerPort = port;
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    },
    port: () => (server.address() as AddressInfo).port,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
    connections: () => ({ open: pairs.size, total }),
    reset: (key: number | undefined) => resetPair(pairs.get(key ?? -1)),
    resetAll: () => {
      for (const pair of [...pairs.values()]) resetPair(pair);
    },
    setRefusing: (refuse: boolean) => {
      refusing = refuse;
    },
    setFrozen: (freeze: boolean) => {
      // Joined twice, every byte would pass twice.
      if (freeze === frozen) return;
      frozen = freeze;
      for (const { outer, inner } of pairs.values()) {
        if (!freeze) join(outer, inner);
        else {
          outer.unpipe(inner);
          inner.unpipe(outer);
          outer.pause();
          inner.pause();
        }
      }
    },
  };
}

function join(outer: Socket, inner: Socket): void {
  outer.pipe(inner);
  inner.pipe(outer);
}
