import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  checkAllowed,
  checkAudiences,
  createForbiddenAudiences,
} from '../../../signer/token/svid/audiences.ts';

describe('audiences', () => {
  const isForbidden = createForbiddenAudiences(() => ['https://api.server', 'spiffe://td/own', 'api']);
  const open = { maxAudiences: 2, allowedAudiences: undefined, isForbidden };
  const listed = { ...open, allowedAudiences: ['vault', 'https://*'] };
  const rows: [wanted: string[], policy: typeof open | typeof listed, expected: string][] = [
    [['a'], open, 'ok'],
    [['a', 'b'], open, 'ok'],
    [[], open, 'AudienceMissing'],
    [['a', ''], open, 'AudienceMissing'],
    [['a', 'b', 'c'], open, 'AudienceTooMany'],
    [['a', 'a'], open, 'AudienceMalformed'],
    [['a b'], open, 'AudienceMalformed'],
    [['a\u0000'], open, 'AudienceMalformed'],
    [['\u00e4'], open, 'AudienceMalformed'],
    [['x'.repeat(1025)], open, 'AudienceMalformed'],
    [['x'.repeat(1024)], open, 'ok'],
    [['eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln'], open, 'AudienceMalformed'],
    [['eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn'], open, 'AudienceMalformed'],
    [['eyJ.example.com'], open, 'ok'],
    [['https://api.server'], open, 'AudienceForbidden'],
    [['a', 'https://api.server'], open, 'AudienceForbidden'],
    [['https://API.server//'], open, 'AudienceForbidden'],
    [['spiffe://td/own'], open, 'AudienceForbidden'],
    [['vault'], listed, 'ok'],
    [['vault2'], listed, 'AudienceNotAllowed'],
    [['https://x'], listed, 'ok'],
    [['http://x'], listed, 'AudienceNotAllowed'],
    [['https://x', 'y'], listed, 'AudienceNotAllowed'],
    [['https://api.server'], listed, 'AudienceForbidden'],
    ...[
      ...[
        'https://api.server:443',
        'https://api.server.',
        'https://api.server.:443/',
        'https://api%2Eserver',
      ],
      ...[
        'https://api%252eserver',
        'https://%61pi.server',
        'https://api.server%2f',
        'https://api.server?a=b',
      ],
      ...['https://api.server#a', 'https://api.server/./', 'https://api.server/a/..', 'https:api.server'],
      ...['https://a:b@api.server', 'https:\\\\api.server', 'spiffe://TD//own', 'spiffe://td:443/own'],
      ...['spiffe://td./own?a', 'spiffe://td/a/../own', 'API', 'api.', 'api:443', 'api/', 'api?a', 'api#'],
    ].map((audience): [string[], typeof open, string] => [[audience], open, 'AudienceForbidden']),
    ...[
      ...['https://api.server:8443', 'https://api.server/a', 'https://a.api.server', 'https://api.server.a'],
      ...['spiffe://td/own2', 'spiffe://td', 'api2', 'urn:api', 'https://[::1', '%', '/', ':'],
    ].map((audience): [string[], typeof open, string] => [[audience], open, 'ok']),
  ];
  for (const [wanted, policy, expected] of rows) {
    const limits = policy === listed ? ' of a list' : '';
    it(`the audiences ${JSON.stringify(wanted).slice(0, 60)}${limits}: ${expected}`, () => {
      const outcome = checkAudiences(wanted, policy);
      assert.equal(outcome.ok ? 'ok' : outcome.code, expected);
    });
  }

  it('an audience is forbidden as soon as the API server has it, in each of its forms', () => {
    const audiences = new Set(['api']);
    const isForbiddenNow = createForbiddenAudiences(() => audiences);
    assert.equal(isForbiddenNow('https://NEW.example/'), false);
    audiences.add('https://new.example');
    assert.equal(isForbiddenNow('https://NEW.example/'), true);
    assert.equal(isForbiddenNow('api'), true);
  });

  const allowed: [wanted: string[], patterns: string[] | undefined, isAllowed: boolean][] = [
    [['a', 'b'], undefined, true],
    [['a', 'b'], ['*'], true],
    [['https://a.example/x'], ['https://a.example/*'], true],
    [['https://a.example'], ['https://a.example/*'], false],
    [['https://a.example.evil'], ['https://a.example'], false],
    [['a', 'c'], ['a', 'b'], false],
    [['A'], ['a'], false],
  ];
  for (const [wanted, patterns, isAllowed] of allowed) {
    it(`the audiences ${wanted} are ${isAllowed ? '' : 'not '}those that a registration allows: ${patterns}`, () => {
      const outcome = checkAllowed(wanted, patterns, 'the registration shop/web');
      if (isAllowed) assert.deepEqual(outcome, { ok: true, value: wanted });
      else
        assert.deepEqual(outcome, {
          ok: false,
          code: 'AudienceNotAllowed',
          detail: 'the registration shop/web',
        });
    });
  }
});
