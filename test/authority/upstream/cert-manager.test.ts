import assert from 'node:assert/strict';
import { it } from 'node:test';
import { certManagerUpstream } from '../../../signer/authority/upstream/cert-manager.ts';
import { parseIssuer } from '../../../signer/authority/upstream/upstream.ts';
import type { ApiRequest, Transport } from '../../../signer/kube/transport.ts';

it('each issuer gets a CertificateRequest of its own, and the same one when it is asked again', async () => {
  const asked: string[] = [];
  const request = async ({ path }: ApiRequest) => {
    asked.push(path);
    return { status: 200, body: { status: {} } };
  };
  for (const text of ['Issuer/company', 'Issuer/company', 'ClusterIssuer/company', 'Issuer/other']) {
    const issuer = parseIssuer(text);
    assert.ok(issuer.ok);
    const needs = { transport: { request } as unknown as Transport, namespace: 'kubespiffe' };
    const wanted = { id: 'ca-2', request: 'the same', trustDomain: 'example.org', lifetimeSeconds: 86_400 };
    await certManagerUpstream({ ...needs, issuer: issuer.value }).sign(wanted, AbortSignal.timeout(10_000));
  }
  assert.equal(asked[0], asked[1]);
  assert.equal(new Set(asked).size, 3, asked.join());
});
