import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createAddressRule, parseAddressRange } from '../../client/address-rule.ts';

const rule = createAddressRule([]);
const local = createAddressRule([{ address: '127.0.0.0', prefix: 8 }]);

describe('addresses that a URL of somebody else may not lead to', () => {
  for (const address of [
    ...[
      '127.0.0.1',
      '127.255.0.1',
      '0.0.0.0',
      '169.254.169.254',
      '169.254.1.1',
      '224.0.0.1',
      '255.255.255.255',
    ],
    ...['100.100.100.200', '168.63.129.16', '192.0.0.192'],
    ...['::1', '::', 'fe80::1', 'febf::1', 'ff02::1', 'fd00:ec2::254'],
    ...['::ffff:127.0.0.1', '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe', '64:ff9b::7f00:1'],
  ]) {
    it(`refuses ${address}`, () => assert.match(rule.problem(address) ?? '', /^the address .* is one of/));
  }

  for (const address of [
    '10.0.0.1',
    '192.168.1.1',
    '100.100.100.201',
    '203.0.113.1',
    '2001:db8::1',
    'fd00::1',
  ]) {
    it(`accepts ${address}`, () => assert.equal(rule.problem(address), undefined));
  }

  it('accepts a special address that the administrator allows, and no other', () => {
    assert.equal(local.problem('127.0.0.1'), undefined);
    assert.ok(local.problem('169.254.169.254'));
  });

  it('refuses an address in a URL, in every form that URLs have for it', () => {
    for (const host of ['127.0.0.1', '127.1', '0x7f.1', '2130706433', '[::1]', '[::ffff:7f00:1]']) {
      assert.ok(rule.hostProblem(new URL(`https://${host}:8443/`)), host);
    }
    assert.equal(rule.hostProblem(new URL('https://partner.example/')), undefined);
  });

  const resolve = (of: typeof rule, all: boolean) =>
    new Promise((done) => of.lookup('localhost', { all }, (error, found) => done(error?.message ?? found)));

  it('refuses a name whose addresses are all refused, when it is looked up', async () => {
    assert.match(
      String(await resolve(rule, true)),
      /^localhost: the address .* is one of the machine itself/,
    );
    assert.equal(await resolve(local, false), '127.0.0.1');
  });

  it('reads ranges, and nothing else', () => {
    assert.deepEqual(parseAddressRange('fd00::/8'), { address: 'fd00::', prefix: 8 });
    for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'a/8', '10.0.0.0/-1', '']) {
      assert.equal(parseAddressRange(text), undefined, text);
    }
  });
});
