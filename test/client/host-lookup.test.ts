import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createAddressRule } from '../../client/address-rule.ts';
import { addressesOf } from '../../client/host-lookup.ts';
import { startDnsServer } from './dns-server.ts';

describe('finding the addresses of a host', () => {
  let server: Awaited<ReturnType<typeof startDnsServer>>;
  before(async () => {
    server = await startDnsServer((name) => {
      if (name.startsWith('silent')) return 'silent';
      if (name === 'fails.example') return 'fails';
      return name === 'partner.example' ? '203.0.113.5' : 'unknown';
    });
  });
  after(() => server.close());
  const partner = [{ address: '203.0.113.5', family: 4 }];

  it('a lookup of a host asks DNS, and accepts one family if there is no other', async () => {
    assert.deepEqual(await addressesOf('partner.example', server.resolver()), partner);
  });

  it('a lookup of a name in the hosts file asks no server', async () => {
    const found = await addressesOf('localhost', server.resolver());
    assert.ok(found.some(({ address }) => address === '127.0.0.1'));
    assert.ok(!server.asked.includes('localhost'));
  });

  it('a lookup of a short name of the cluster is left to the system', async () => {
    for (const name of ['bundle', 'bundle.partners.svc'])
      await assert.rejects(addressesOf(name, server.resolver()), { syscall: 'getaddrinfo' });
    assert.ok(!server.asked.some((name) => name.startsWith('bundle')));
  });

  it('a lookup is left to the system only if DNS does not know the name', async () => {
    await assert.rejects(addressesOf('fails.example', server.resolver()), { code: 'ESERVFAIL' });
    await assert.rejects(addressesOf('silent.example', server.resolver({ timeout: 100, tries: 1 })), {
      code: 'ETIMEOUT',
    });
    await assert.rejects(addressesOf('unknown.invalid', server.resolver()), { syscall: 'getaddrinfo' });
  });

  it('a lookup is not delayed by a hundred other hosts whose name servers never answer', async () => {
    const silent = server.resolver();
    const hanging = Array.from({ length: 100 }, (_, index) => addressesOf(`silent-${index}.example`, silent));
    const ended = Promise.allSettled(hanging);
    const first = await Promise.race([addressesOf('partner.example', server.resolver()), ended]);
    assert.deepEqual(first, partner);
    silent.cancel();
    for (const { status } of await ended) assert.equal(status, 'rejected');
  });

  it('a lookup gives a request no address that is refused', async () => {
    const resolver = await startDnsServer(() => '169.254.169.254');
    const rule = createAddressRule([], (name) => addressesOf(name, resolver.resolver()));
    const message = await new Promise((done) =>
      rule.lookup('metadata.example', { all: true }, (error) => done(error?.message)),
    );
    resolver.close();
    assert.match(String(message), /^metadata\.example: the address 169\.254\.169\.254 is one of/);
  });
});
