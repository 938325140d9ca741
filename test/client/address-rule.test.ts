import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseAddressRange } from '../../client/address-range.ts';
import { createAddressRule } from '../../client/address-rule.ts';

const rule = createAddressRule([]);
const local = createAddressRule([{ address: '127.0.0.0', prefix: 8 }]);

describe('addresses that a foreign URL must not lead to', () => {
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
    ...['::1', '::', 'fe80::1', 'fe80::1%eth0', 'febf::1', 'ff02::1', '2001:0:808:808::5601:5601'],
    ...['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254', 'fd00:c1::a9fe:a9fe', 'fd00:42::42'],
    ...['fd00:a9fe:a9fe::1', 'fd00:100::100:200', 'FD00:EC2:0::254'],
  ]) {
    it(`the address rule refuses ${address}`, () =>
      assert.match(rule.problem(address) ?? '', /^the address .* is one of/));
  }

  for (const address of [
    '10.0.0.1',
    '192.168.1.1',
    '100.100.100.201',
    '203.0.113.1',
    '2001:db8::1',
    'fd00::1',
    'fd20:ce::253',
  ]) {
    it(`the address rule accepts ${address}`, () => assert.equal(rule.problem(address), undefined));
  }

  const hex = (...bytes: number[]) => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  /** Every form of IPv6 that leads to an address of IPv4. */
  const forms: Readonly<Record<string, (a: number, b: number, c: number, d: number) => string>> = {
    'IPv4-mapped': (a, b, c, d) => `::ffff:${a}.${b}.${c}.${d}`,
    'IPv4-translated': (a, b, c, d) => `::ffff:0:${a}.${b}.${c}.${d}`,
    'IPv4-compatible': (a, b, c, d) => `::${hex(a, b)}:${hex(c, d)}`,
    NAT64: (a, b, c, d) => `64:ff9b::${a}.${b}.${c}.${d}`,
    'NAT64 for local use, /48': (a, b, c, d) => `64:ff9b:1:${hex(a, b)}:${hex(0, c)}:${hex(d, 0)}::`,
    'NAT64 for local use, /56': (a, b, c, d) => `64:ff9b:1:${hex(0x12, a)}:${hex(0, b)}:${hex(c, d)}::`,
    'NAT64 for local use, /64': (a, b, c, d) => `64:ff9b:1:12:${hex(0, a)}:${hex(b, c)}:${hex(d, 0)}:0`,
    'NAT64 for local use, /96': (a, b, c, d) => `64:ff9b:1:fffe::${hex(a, b)}:${hex(c, d)}`,
    '6to4': (a, b, c, d) => `2002:${hex(a, b)}:${hex(c, d)}:5::1`,
  };
  const byte = fc.integer({ min: 0, max: 255 });
  for (const [name, form] of Object.entries(forms)) {
    it(`the address rule refuses an address of IPv4 in the form ${name} if it is refused itself`, () => {
      const first = fc.constantFrom(127, 169, 10, 203);
      const addresses = fc.tuple(first, fc.oneof(byte, fc.constant(254)), byte, byte);
      fc.assert(
        fc.property(addresses, ([a, b, c, d]) => {
          const refused = rule.problem(`${a}.${b}.${c}.${d}`) !== undefined;
          return !refused || rule.problem(form(a, b, c, d)) !== undefined;
        }),
      );
    });
    it(`the address rule refuses 100.100.100.200, and accepts a public server, in the form ${name}`, () => {
      assert.ok(rule.problem(form(100, 100, 100, 200)));
      assert.equal(rule.problem(form(203, 0, 113, 5)), undefined);
    });
  }

  it('the address rule accepts a special address that the administrator allows, and no other', () => {
    assert.equal(local.problem('127.0.0.1'), undefined);
    assert.ok(local.problem('169.254.169.254'));
  });

  it('the address rule refuses an address in a URL, in every form that URLs have for it', () => {
    for (const host of ['127.0.0.1', '127.1', '0x7f.1', '2130706433', '[::1]', '[::ffff:7f00:1]']) {
      assert.ok(rule.hostProblem(new URL(`https://${host}:8443/`)), host);
    }
    assert.equal(rule.hostProblem(new URL('https://partner.example/')), undefined);
  });

  const resolve = (of: typeof rule, all: boolean) =>
    new Promise((done) => of.lookup('localhost', { all }, (error, found) => done(error?.message ?? found)));

  it('the address rule refuses a name whose addresses are all refused, when it is looked up', async () => {
    assert.match(
      String(await resolve(rule, true)),
      /^localhost: the address .* is one of the machine itself/,
    );
    assert.equal(await resolve(local, false), '127.0.0.1');
  });

  it('the address rule reads ranges, and nothing else', () => {
    assert.deepEqual(parseAddressRange('fd00::/8'), { address: 'fd00::', prefix: 8 });
    for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'a/8', '10.0.0.0/-1', '']) {
      assert.equal(parseAddressRange(text), undefined, text);
    }
  });
});
