import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { addressOf } from '../../../signer/token/http/address.ts';

describe('the address of a peer', () => {
  for (const [shown, plain] of [
    ['::ffff:10.244.0.46', '10.244.0.46'],
    ['10.244.0.46', '10.244.0.46'],
    ['2001:db8::1', '2001:db8::1'],
    ['::ffff:2001:db8', '::ffff:2001:db8'],
    ['::1', '::1'],
    [undefined, ''],
  ] as const) {
    it(`the address ${shown} reads ${plain || 'empty'}`, () =>
      assert.equal(addressOf({ remoteAddress: shown }), plain));
  }

  it('the address of a peer is plain IPv4 on a listener for both IPv6 and IPv4, the default', async () => {
    const server = createServer().listen(0);
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const [socket] = (await once(server, 'connection')) as [Socket];
    assert.equal(addressOf(socket), '127.0.0.1');
    client.destroy();
    socket.destroy();
    server.close();
  });
});
