import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bundleLabels, trustDomainLabel } from '../../signer/trust/labels.ts';

const labelValue = /^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/;

describe('a trust domain as a label', () => {
  it('a trust domain is used as a label if Kubernetes allows it', () => {
    for (const name of ['example.org', 'a', '10.0.0.1', 'prod_eu-1.example', 'x'.repeat(63)]) {
      assert.equal(trustDomainLabel(name), name);
    }
  });

  it('a trust domain that is not a valid label is replaced by the documented hash', () => {
    for (const name of ['x'.repeat(64), 'x'.repeat(255), '-example', 'example-', '_a', 'a.']) {
      assert.match(trustDomainLabel(name), /^sha256-[0-9a-f]{40}$/);
    }
  });

  it('no trust domain can be chosen to have the hash of another one', () => {
    const hashed = trustDomainLabel('x'.repeat(64));
    assert.match(trustDomainLabel(hashed), /^sha256-[0-9a-f]{40}$/);
    assert.notEqual(trustDomainLabel(hashed), hashed);
  });

  it('the label is valid for every trust domain, and different trust domains have different labels', () => {
    const trustDomain = fc.stringMatching(/^[a-z0-9._-]{1,255}$/);
    fc.assert(
      fc.property(trustDomain, trustDomain, (one, two) => {
        const value = trustDomainLabel(one);
        assert.ok(value.length <= 63 && labelValue.test(value), value);
        assert.equal(value === trustDomainLabel(two), one === two);
      }),
    );
  });

  it('the labels of the filesystem-delivery draft have the trust domain', () => {
    assert.deepEqual(bundleLabels('example.org'), {
      'app.kubernetes.io/managed-by': 'kubespiffe',
      'k8s.spiffe.io/canarying': 'live',
      'k8s.spiffe.io/workload-trust-domain': 'example.org',
      'k8s.spiffe.io/peer-trust-domain': 'example.org',
    });
  });

  it('the labels of roots without a trust domain have our label canarying', () => {
    assert.deepEqual(bundleLabels(undefined, 'preview'), {
      'app.kubernetes.io/managed-by': 'kubespiffe',
      'kubespiffe.io/canarying': 'preview',
    });
  });
});
