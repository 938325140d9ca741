import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';

describe('an address of the Workload API', () => {
  const good: [string, object][] = [
    ['unix:///run/spiffe/agent.sock', { kind: 'unix', path: '/run/spiffe/agent.sock' }],
    ['unix:/run/spiffe/agent.sock', { kind: 'unix', path: '/run/spiffe/agent.sock' }],
    ['tcp://127.0.0.1:8080', { kind: 'tcp', host: '127.0.0.1', port: 8080 }],
    ['tcp://[::1]:8080', { kind: 'tcp', host: '[::1]', port: 8080 }],
  ];
  for (const [uri, expected] of good) {
    it(`an address of the Workload API is read: ${uri}`, () => {
      const read = parseEndpointAddress(uri);
      assert.ok(read.ok);
      assert.partialDeepStrictEqual(read.value, expected);
    });
  }

  const bad: [string, RegExp][] = [
    ['', /an address is/],
    ['/run/spiffe/agent.sock', /an address is/],
    ['unix://run/agent.sock', /absolute/],
    ['unix:agent.sock', /absolute/],
    ['unix:///run/agent.sock?x=1', /no query/],
    [`unix:///${'a'.repeat(107)}`, /108 bytes.*shorter/],
    ['tcp://localhost:8080', /not an IP address/],
    ['tcp://0.0.0.0:8080', /not an address of loopback/],
    ['tcp://10.0.0.1:8080', /not an address of loopback/],
    ['tcp://127.0.0.1', /an address is/],
    ['tcp://127.0.0.1:8080/x', /an address is/],
    ['tcp://127.0.0.1:70000', /no port/],
    ['http://127.0.0.1:80', /an address is/],
  ];
  for (const [uri, reason] of bad) {
    it(`an address of the Workload API is refused: ${uri.slice(0, 40) || 'an empty one'}`, () => {
      const read = parseEndpointAddress(uri);
      assert.ok(!read.ok);
      assert.match(read.reason, reason);
    });
  }
});
