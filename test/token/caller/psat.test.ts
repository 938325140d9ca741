import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readPsat, readPsatHeader } from '../../../signer/token/caller/psat.ts';

const token = 'eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl';
const longPart = 'a'.repeat(41);

/** Refusals are logged, and an unverified token may say anything. */
describe('what is logged of an unverified token', () => {
  const issuers: [iss: string, isShown: boolean][] = [
    ['https://kubernetes.default.svc.cluster.local', true],
    ['https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE', true],
    ['https://container.googleapis.com/v1/projects/a-b/locations/europe-west1/clusters/c', true],
    ['https://eastus.oic.prod-aks.azure.com/72f988bf-86f1-41af-91ab-2d7cd011db47/2d7cd011db47/', true],
    ['http://127.0.0.1:8080', true],
    [token, false],
    [`https://a.example/${token}`, false],
    [`https://a.example/${longPart}`, false],
    [`https://${token}`, false],
    [`https://a.example/?token=a`, false],
    ['https://user:password@a.example', false],
    ['a line\nand another', false],
    [`https://a.example${'/aaaa'.repeat(100)}`, false],
  ];
  for (const [iss, isShown] of issuers) {
    it(`an unverified token is ${isShown ? '' : 'not '}logged with its issuer ${JSON.stringify(iss).slice(0, 60)}`, () => {
      const refused = readPsat({ iss }, { audience: 'ours', issuers: new Set(['https://ours']) }, 0);
      assert.ok(!refused.ok);
      assert.equal(refused.code, 'IssuerUnknown');
      assert.equal(refused.detail.includes(iss), isShown, refused.detail);
    });
  }

  const headers: [header: Record<string, string>, shown: string | undefined][] = [
    [{ alg: 'HS256', kid: 'k' }, 'HS256'],
    [{ alg: 'none', kid: 'k' }, 'none'],
    [{ alg: token, kid: 'k' }, undefined],
    [{ alg: 'ES256', kid: 'k', jku: 'https://a.example' }, 'jku'],
    [{ alg: 'ES256', kid: 'k', 'x5t#S256': 'a' }, 'x5t#S256'],
    [{ alg: 'ES256', kid: 'k', [token]: 'a' }, undefined],
  ];
  for (const [header, shown] of headers) {
    it(`the log of an unverified token has ${shown ?? 'nothing'} for the header ${JSON.stringify(header).slice(0, 60)}`, () => {
      const refused = readPsatHeader(header);
      assert.ok(!refused.ok);
      if (shown !== undefined) assert.ok(refused.detail.includes(shown), refused.detail);
      else assert.ok(!refused.detail.includes(token.slice(0, 16)), refused.detail);
    });
  }
});
