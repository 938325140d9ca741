import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  bundleName,
  type DesiredBundle,
  desiredBundle,
  differenceOf,
  markIn,
  type ObservedBundle,
  toObservedBundle,
} from '../../signer/trust/bundle.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { makeCa } from '../authority/authorities.ts';

const now = Math.floor(Date.now() / 1000);
const names = {
  signerName: 'kubespiffe.io/spiffe',
  suffix: 'roots',
  trustDomain: 'example.org',
  canarying: 'live' as const,
  mark: { sequence: 7, content: 'c0ffee' },
};

async function certificate(isCa: boolean): Promise<CertificateFacts> {
  const { certificate: pem } = await makeCa({ notBefore: now - 60, notAfter: now + 86_400, isCa });
  const blocks = decodePem(pem);
  const facts = blocks.ok && blocks.value[0] ? readCertificate(blocks.value[0].der) : undefined;
  if (!facts?.ok) throw new Error('the test CA must be readable');
  return facts.value;
}

function desired(roots: readonly CertificateFacts[]): DesiredBundle {
  const bundle = desiredBundle({ ...names, roots });
  assert.ok(bundle.ok);
  return bundle.value;
}

/** The bundle as a watch would show it after it was applied. */
function published(bundle: DesiredBundle): ObservedBundle {
  const { name, labels, annotations, trustBundle, signerName } = bundle;
  const metadata = { name, labels: { ...labels }, annotations: { ...annotations } };
  return toObservedBundle({ metadata, spec: { signerName, trustBundle } });
}

describe('a trust bundle', () => {
  let root: CertificateFacts;
  let other: CertificateFacts;
  before(async () => {
    [root, other] = await Promise.all([certificate(true), certificate(true)]);
  });

  it('a trust bundle is named after its signer', () => {
    assert.equal(bundleName(names.signerName, 'roots'), 'kubespiffe.io:spiffe:roots');
    assert.equal(bundleName(names.signerName, 'roots', 'preview'), 'kubespiffe.io:spiffe:roots-preview');
  });

  it('a trust bundle holds each root once, as PEM without headers or text', () => {
    const bundle = desired([root, other, root]);
    assert.equal(bundle.roots.size, 2);
    assert.equal(bundle.trustBundle.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.deepEqual(published(bundle).roots, bundle.roots);
  });

  it('a trust bundle is never made empty', () => {
    assert.deepEqual(desiredBundle({ ...names, roots: [] }), {
      ok: false,
      reason: 'there is no root to publish',
    });
  });

  it('a trust bundle refuses a certificate that is not a CA, as the API server does', async () => {
    const leaf = await certificate(false);
    const bundle = desiredBundle({ ...names, roots: [leaf] });
    assert.equal(bundle.ok, false);
  });

  it('a trust bundle that is published as desired has no difference, in any order of its roots', () => {
    assert.equal(differenceOf(desired([root, other]), published(desired([other, root]))), undefined);
  });

  const differences: [string, (bundle: ObservedBundle) => ObservedBundle | undefined, RegExp][] = [
    ['is missing', () => undefined, /missing/],
    ['lacks a root', () => published(desired([other])), /1 of 1 roots are missing/],
    ['has a foreign certificate', () => published(desired([root, other])), /1 certificates are not roots/],
    [
      'has lost a label',
      (bundle) => ({ ...bundle, labels: { ...bundle.labels, 'k8s.spiffe.io/canarying': 'preview' } }),
      /label k8s.spiffe.io\/canarying/,
    ],
    [
      'is marked as made of another pool',
      (bundle) => ({ ...bundle, annotations: { ...bundle.annotations, 'kubespiffe.io/sequence': '6' } }),
      /annotation kubespiffe.io\/sequence is not 7/,
    ],
    ['cannot be read', (bundle) => ({ ...bundle, roots: new Set() }), /missing/],
  ];
  for (const [name, change, expected] of differences) {
    it(`a bundle that ${name} differs from the desired one`, () => {
      const bundle = desired([root]);
      assert.match(differenceOf(bundle, change(published(bundle))) ?? 'no difference', expected);
    });
  }

  type Mark = [string, (bundle: ObservedBundle) => ObservedBundle | undefined, object | undefined];
  const marks: Mark[] = [
    ['as it was written', (bundle) => bundle, names.mark],
    ['not without a bundle', () => undefined, undefined],
    ['not where the annotations are gone', (bundle) => ({ ...bundle, annotations: {} }), undefined],
    [
      'not if the sequence is not a number',
      (bundle) => ({ ...bundle, annotations: { ...bundle.annotations, 'kubespiffe.io/sequence': '7x' } }),
      undefined,
    ],
    ...['1000000000000', '999999999999999', '9007199254740991', '-1', '1e3'].map(
      (sequence): Mark => [
        `not with the sequence ${sequence}, which no pool could follow`,
        (bundle) => ({
          ...bundle,
          annotations: { ...bundle.annotations, 'kubespiffe.io/sequence': sequence },
        }),
        undefined,
      ],
    ),
    [
      'not for another trust domain, whose sequences are its own',
      (bundle) => ({
        ...bundle,
        labels: { ...bundle.labels, 'k8s.spiffe.io/peer-trust-domain': 'example.com' },
      }),
      undefined,
    ],
  ];
  for (const [name, change, expected] of marks) {
    it(`a trust bundle records the pool that it was made from, ${name}`, () => {
      assert.deepEqual(markIn(change(published(desired([root]))), names.trustDomain), expected);
    });
  }

  it('a trust bundle keeps labels that others have added', () => {
    const bundle = desired([root]);
    const labelled = { ...published(bundle), labels: { ...bundle.labels, team: 'platform' } };
    assert.equal(differenceOf(bundle, labelled), undefined);
  });
});
