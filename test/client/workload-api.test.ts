import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import { fetchJwtBundles, fetchX509Bundles, fetchX509Svid } from '../../client/workload-api.ts';
import { readX509Svid } from '../../workload/x509-svid.ts';
import { issueSvid, makeTrustDomain } from '../workload/api/workload.ts';

const proto = loadSync(join(import.meta.dirname, '../../workload/api/workload-api.proto'), {
  keepCase: true,
});
const responseType = proto.X509SVIDResponse as MessageTypeDefinition<object, object>;

let response: Buffer;
let chain: Uint8Array;
before(async () => {
  const domain = await makeTrustDomain('example.org');
  const { spiffeId, key, ...svid } = await issueSvid(domain, '/ns/shop/sa/web');
  chain = Buffer.concat(svid.chain);
  const bundle = Buffer.concat(svid.bundle);
  response = Buffer.from(
    responseType.serialize({
      svids: [{ spiffe_id: spiffeId, x509_svid: chain, x509_svid_key: key, bundle, hint: 'internal' }],
      // SPIFFE IDs of trust domains, as the standard has it, and a name, as some servers send.
      federated_bundles: { 'spiffe://example.com': bundle, 'example.net': bundle },
    }),
  );
});

describe('a response of the Workload API', () => {
  it('a response of the Workload API is read as it was sent', () => {
    const read = fetchX509Svid.read(response);
    assert.ok(read.ok);
    const [svid] = read.value.svids;
    assert.ok(svid?.credentialsPem.ok && svid.rootsPem.ok);
    assert.equal(svid.hint, 'internal');
    const held = readX509Svid(svid.credentialsPem.value);
    assert.ok(held.ok);
    assert.equal(held.value.id.uri, 'spiffe://example.org/ns/shop/sa/web');
    assert.deepEqual([...read.value.federated.keys()].toSorted(), ['example.com', 'example.net']);
  });

  it('a changed response never gives a key with another certificate, and never throws', () => {
    const changed = fc.tuple(fc.nat(response.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(changed, { maxLength: 3 }), fc.nat(response.length), (changes, cut) => {
        const bytes = Buffer.from(response);
        for (const [at, value] of changes) bytes[at] = value;
        const message = changes.length === 0 ? bytes.subarray(0, cut) : bytes;
        const read = fetchX509Svid.read(message);
        fetchX509Bundles.read(message);
        fetchJwtBundles.read(message);
        for (const { credentialsPem } of read.ok ? read.value.svids : []) {
          const held = credentialsPem.ok ? readX509Svid(credentialsPem.value) : credentialsPem;
          if (!held.ok) continue;
          // A certificate that was changed is refused later, since no root has signed it.
          const { publicKey } = new X509Certificate(held.value.chainPem);
          assert.ok(createPublicKey(held.value.privateKey).equals(publicKey));
        }
      }),
      { numRuns: 500 },
    );
  });
});
