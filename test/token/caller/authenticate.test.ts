import assert from 'node:assert/strict';
import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import { badTokens, claimsOf, headerOf, signed } from './bad-tokens.ts';
import { anAuthenticator, goodReview, someFacts } from './psats.ts';

const facts = someFacts();
const aToken = () => signed(facts.key, headerOf(facts), claimsOf(facts));

async function refusal(token: string, subject = anAuthenticator(facts)): Promise<string> {
  const outcome = await subject.authenticate(token);
  assert.ok(!outcome.ok, 'the token was taken');
  return outcome.code;
}

describe('bad tokens', () => {
  const table = badTokens(facts);

  it('the table has at least sixty bad tokens', () => assert.ok(table.length >= 60, String(table.length)));

  for (const { name, token, code } of table) {
    it(`a bad token is refused with ${code}: ${name}`, async () => {
      const subject = anAuthenticator(facts);
      assert.equal(await refusal(token, subject), code);
      // The API server is not troubled with what can be seen to be wrong.
      assert.equal(subject.reviewed(), 0);
    });
  }
});

describe('good tokens', () => {
  it('a good token is reviewed for our audience only, and the review says whose it is', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    const outcome = await subject.authenticate(token);
    assert.ok(outcome.ok);
    assert.partialDeepStrictEqual(outcome.value, {
      namespace: 'shop',
      serviceAccount: facts.serviceAccount,
      pod: facts.pod,
      expiresAt: facts.now + 3000,
    });
    const review = subject.requests.find(({ resource }) => resource === 'tokenreviews');
    const { spec } = (review?.body ?? {}) as { spec?: unknown };
    assert.deepEqual(spec, { token, audiences: [facts.audience] });
  });

  it('a good token may name its one audience as a string', async () => {
    const token = signed(facts.key, headerOf(facts), claimsOf(facts, { aud: facts.audience }));
    assert.ok((await anAuthenticator(facts).authenticate(token)).ok);
  });

  it('a good token may come from a clock that is a minute ahead', async () => {
    const ahead = { iat: facts.now + 59, nbf: facts.now + 59 };
    assert.ok(
      (await anAuthenticator(facts).authenticate(signed(facts.key, headerOf(facts), claimsOf(facts, ahead))))
        .ok,
    );
  });

  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = (namedCurve: string) => () => generateKeyPairSync('ec', { namedCurve });
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  const algorithms: [
    alg: string,
    generate: () => { privateKey: KeyObject; publicKey: KeyObject },
    digest: string,
    options?: object,
  ][] = [
    ['RS256', rsa, 'sha256'],
    ['RS384', rsa, 'sha384'],
    ['RS512', rsa, 'sha512'],
    ['PS256', rsa, 'sha256', pss],
    ['ES256', ec('P-256'), 'sha256'],
    ['ES384', ec('P-384'), 'sha384'],
    ['ES512', ec('P-521'), 'sha512'],
  ];
  for (const [alg, generate, digest, options] of algorithms) {
    it(`a good token may be signed with ${alg}`, async () => {
      const subject = anAuthenticator(facts);
      const { privateKey, publicKey } = generate();
      subject.script.keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg, use: 'sig' }];
      const [head, body] = signed(facts.key, { alg, kid: 'k' }, claimsOf(facts)).split('.');
      const input = Buffer.from(`${head}.${body}`);
      const signature = sign(digest, input, {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
        ...options,
      }).toString('base64url');
      assert.ok((await subject.authenticate(`${input}.${signature}`)).ok);
    });
  }
});

describe('the pod of a refused token', () => {
  const claims = (different: object = {}) => claimsOf(facts, { jti: 'token-1', ...different });
  const owner = {
    namespace: 'shop',
    serviceAccount: facts.serviceAccount,
    pod: facts.pod,
    id: 'token-1',
  };
  const another = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const wrongAudience = claims({ aud: ['vault'] });
  const past = { iat: facts.now - 900, nbf: facts.now - 900, exp: facts.now - 1 };
  const rows: [name: string, token: string, code: string, isNamed: boolean][] = [
    ['for another audience', signed(facts.key, headerOf(facts), wrongAudience), 'AudienceWrong', true],
    ['that ended', signed(facts.key, headerOf(facts), claims(past)), 'TokenExpired', true],
    [
      'that begins later',
      signed(facts.key, headerOf(facts), claims({ nbf: facts.now + 90 })),
      'TokenNotYetValid',
      true,
    ],
    ['with a wrong signature', signed(another, headerOf(facts), wrongAudience), 'SignatureInvalid', false],
    [
      'of a key that is not published',
      signed(another, headerOf(facts, { kid: 'hidden' }), wrongAudience),
      'AudienceWrong',
      false,
    ],
    [
      'of another issuer',
      signed(facts.key, headerOf(facts), claims({ iss: 'https://other.example' })),
      'IssuerUnknown',
      false,
    ],
    [
      'with names that contradict each other',
      signed(facts.key, headerOf(facts), { ...wrongAudience, sub: 'system:serviceaccount:shop:other' }),
      'AudienceWrong',
      false,
    ],
  ];
  for (const [name, token, code, isNamed] of rows) {
    it(`the pod of a refused token is ${isNamed ? 'named' : 'not named'}: a token ${name}`, async () => {
      const outcome = await anAuthenticator(facts).authenticate(token);
      assert.ok(!outcome.ok);
      assert.deepEqual([outcome.code, outcome.owner], [code, isNamed ? owner : undefined]);
    });
  }

  it('the pod of a token is named while the API server cannot review it, and not when the review fails or disagrees', async () => {
    const subject = anAuthenticator(facts);
    const refused = async () => {
      const outcome = await subject.authenticate(signed(facts.key, headerOf(facts), claims()));
      return outcome.ok ? undefined : [outcome.code, outcome.owner];
    };
    subject.script.reviewFails = 500;
    assert.deepEqual(await refused(), ['ReviewUnavailable', owner]);
    subject.script.reviewFails = 403;
    assert.deepEqual(await refused(), ['ReviewForbidden', owner]);
    subject.script.reviewFails = undefined;
    subject.script.review = { authenticated: false, error: 'gone' };
    assert.deepEqual(await refused(), ['TokenRefused', undefined]);
    subject.script.review = { ...goodReview(facts), audiences: ['vault'] };
    assert.deepEqual(await refused(), ['ReviewDisagrees', undefined]);
  });

  it('the pod of a token is named when a token expires that was reviewed before', async () => {
    const subject = anAuthenticator(facts);
    const token = signed(facts.key, headerOf(facts), claims({ exp: facts.now + 5 }));
    assert.ok((await subject.authenticate(token)).ok);
    subject.script.nowMs += 5_000;
    const outcome = await subject.authenticate(token);
    assert.ok(!outcome.ok);
    assert.partialDeepStrictEqual(outcome.owner, owner);
  });
});

describe('the review', () => {
  const outcomes: [name: string, review: object, code: string][] = [
    ['authenticated false', { authenticated: false, error: 'gone' }, 'TokenRefused'],
    ['nothing', {}, 'TokenRefused'],
    ['authenticated "true"', { ...goodReview(facts), authenticated: 'true' }, 'TokenRefused'],
    ['no audiences', { ...goodReview(facts), audiences: undefined }, 'ReviewDisagrees'],
    ['another audience', { ...goodReview(facts), audiences: ['vault'] }, 'ReviewDisagrees'],
    ['one audience more', { ...goodReview(facts), audiences: [facts.audience, 'vault'] }, 'ReviewDisagrees'],
    ['no user', { ...goodReview(facts), user: undefined }, 'ReviewDisagrees'],
    ...(['username', 'uid'] as const).map((name): [string, object, string] => [
      `another ${name}`,
      { ...goodReview(facts), user: { ...goodReview(facts).user, [name]: 'other' } },
      'ReviewDisagrees',
    ]),
    ...['pod-name', 'pod-uid'].flatMap((name): [string, object, string][] =>
      [['other'], [], undefined].map((value) => {
        const { user } = goodReview(facts);
        const extra = { ...user.extra, [`authentication.kubernetes.io/${name}`]: value };
        return [
          `${name} ${JSON.stringify(value)}`,
          { ...goodReview(facts), user: { ...user, extra } },
          'ReviewDisagrees',
        ];
      }),
    ),
  ];
  for (const [name, review, code] of outcomes) {
    it(`the review answers ${code} for ${name}`, async () => {
      const subject = anAuthenticator(facts);
      subject.script.review = review;
      assert.equal(await refusal(aToken(), subject), code);
      assert.equal(subject.cache.size, 0);
    });
  }

  it('reviews are limited for each pod, for good and for bad tokens', async () => {
    const subject = anAuthenticator(facts);
    subject.script.review = { authenticated: false, error: 'the pod is gone' };
    const another = (pod: object, jti: number) =>
      signed(facts.key, headerOf(facts), {
        ...claimsOf(facts, { jti: String(jti) }),
        'kubernetes.io': { ...(claimsOf(facts)['kubernetes.io'] as object), pod },
      });
    const codes: string[] = [];
    for (let asked = 0; asked < 300; asked += 1)
      codes.push(await refusal(another(facts.pod, asked), subject));
    assert.deepEqual(
      codes,
      codes.map((_, asked) => (asked < 200 ? 'TokenRefused' : 'PodLimited')),
    );
    assert.equal(subject.reviewed(), 200);
    assert.equal(await refusal(another({ name: 'web-1', uid: 'other-uid' }, 0), subject), 'TokenRefused');
    subject.script.monotonicMs += 1_000;
    assert.equal(await refusal(another(facts.pod, 300), subject), 'TokenRefused');
  });

  it('a review and later uses of its token cost the pod one request each', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    const outcomes: boolean[] = [];
    // The first is reviewed, the next come while that is under way, and the others find its result in the cache.
    outcomes.push(
      ...(await Promise.all([1, 2, 3].map(() => subject.authenticate(token)))).map(({ ok }) => ok),
    );
    while (outcomes.length < 200) outcomes.push((await subject.authenticate(token)).ok);
    assert.ok(outcomes.every((ok) => ok));
    assert.equal(await refusal(token, subject), 'PodLimited');
    assert.equal(subject.reviewed(), 1);
  });

  it('a review is unavailable when the API server fails, and forbidden when RBAC is missing', async () => {
    const subject = anAuthenticator(facts);
    subject.script.reviewFails = 500;
    assert.equal(await refusal(aToken(), subject), 'ReviewUnavailable');
    subject.script.reviewFails = 403;
    assert.equal(await refusal(aToken(), subject), 'ReviewForbidden');
  });

  it('one token that comes many times at the same moment is reviewed once', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => subject.authenticate(token)));
    assert.ok(outcomes.every(({ ok }) => ok));
    assert.equal(subject.reviewed(), 1);
  });
});

describe('an earlier review', () => {
  it('an earlier review counts for half a minute and no longer', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    await subject.authenticate(token);
    subject.script.monotonicMs = 29_999;
    assert.ok((await subject.authenticate(token)).ok);
    assert.deepEqual(subject.reviews, ['good', 'cached']);
    subject.script.monotonicMs = 30_000;
    await subject.authenticate(token);
    assert.equal(subject.reviewed(), 2);
  });

  it('an earlier review never outlives the token', async () => {
    const subject = anAuthenticator(facts);
    const token = signed(facts.key, headerOf(facts), claimsOf(facts, { exp: facts.now + 5 }));
    assert.ok((await subject.authenticate(token)).ok);
    subject.script.nowMs += 5_000;
    assert.equal(await refusal(token, subject), 'TokenExpired');
  });

  it('an earlier review is dropped with the pod', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    await subject.authenticate(token);
    subject.cache.forgetPod(facts.pod.uid);
    subject.script.review = { authenticated: false };
    assert.equal(await refusal(token, subject), 'TokenRefused');
  });

  it('an earlier review does not count while the watch of pods is silent', async () => {
    const subject = anAuthenticator(facts);
    const token = aToken();
    await subject.authenticate(token);
    subject.script.hearsOfPods = false;
    subject.script.review = { authenticated: false };
    assert.equal(await refusal(token, subject), 'TokenRefused');
  });
});

describe('another issuer', () => {
  const newIssuer = 'https://new.example';
  const newToken = (iss = newIssuer) => signed(facts.key, headerOf(facts), claimsOf(facts, { iss }));

  it('a new issuer is accepted as soon as the API server names it as its own, and the former one stays valid', async () => {
    const subject = anAuthenticator(facts);
    subject.script.issuer = newIssuer;
    assert.ok((await subject.authenticate(newToken())).ok);
    assert.ok((await subject.authenticate(aToken())).ok);
    assert.deepEqual([...subject.issuers.known], [facts.issuer, newIssuer]);
    assert.deepEqual([...subject.issuers.audiences], [facts.apiAudience, newIssuer]);
    for (let i = 0; i < 3; i += 1) assert.ok((await subject.authenticate(newToken())).ok);
    assert.equal(subject.discovered(), 1);
  });

  it('a new issuer is rarely looked up, even if many tokens of other clusters come', async () => {
    const subject = anAuthenticator(facts);
    const strangers = Array.from({ length: 20 }, (_, i) => newToken(`https://${i}.example`));
    for (const code of await Promise.all(strangers.map((token) => refusal(token, subject)))) {
      assert.equal(code, 'IssuerUnknown');
    }
    subject.script.issuer = newIssuer;
    subject.script.monotonicMs = 9_999;
    assert.equal(await refusal(newToken(), subject), 'IssuerUnknown');
    assert.equal(subject.discovered(), 1);
    subject.script.monotonicMs = 10_000;
    const together = await Promise.all(Array.from({ length: 20 }, () => subject.authenticate(newToken())));
    assert.ok(together.every(({ ok }) => ok));
    assert.equal(subject.discovered(), 2);
  });

  it('a new issuer whose URL is the audience of our tokens is refused, because such tokens work at the API server', async () => {
    const subject = anAuthenticator(facts);
    subject.script.issuer = facts.audience;
    assert.equal(await refusal(newToken(facts.audience), subject), 'IssuerUnknown');
    assert.deepEqual([...subject.issuers.known], [facts.issuer]);
    assert.match(subject.logged.join(), /tokenAudience: .* is an audience of the API server itself/);
  });

  it('a token of a new issuer waits while the API server cannot be asked', async () => {
    const subject = anAuthenticator(facts);
    subject.script.issuer = undefined;
    assert.equal(await refusal(newToken(), subject), 'IssuerUnknown');
    subject.script.issuer = newIssuer;
    subject.script.monotonicMs = 10_000;
    assert.ok((await subject.authenticate(newToken())).ok);
  });
});

describe('keys', () => {
  it('keys are fetched once for many tokens, and again when they have grown old', async () => {
    const subject = anAuthenticator(facts);
    for (let i = 0; i < 5; i += 1) await subject.authenticate(aToken());
    assert.equal(subject.fetched(), 1);
    subject.script.monotonicMs = 300_000;
    await subject.authenticate(aToken());
    assert.equal(subject.fetched(), 2);
  });

  it('keys are fetched again, but seldom, when a token names a key that is not in the set', async () => {
    const subject = anAuthenticator(facts);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await subject.authenticate(aToken());
    subject.script.keys.push({ ...publicKey.export({ format: 'jwk' }), kid: 'key-2', alg: 'ES256' });
    subject.script.monotonicMs = 10_000;
    const rotated = signed(privateKey, headerOf(facts, { kid: 'key-2' }), claimsOf(facts));
    assert.ok((await subject.authenticate(rotated)).ok);
    assert.equal(subject.fetched(), 2);
    for (let i = 0; i < 50; i += 1) {
      await subject.authenticate(signed(facts.key, headerOf(facts, { kid: `no-${i}` }), claimsOf(facts)));
    }
    assert.equal(subject.fetched(), 2);
  });

  it('a key that is newer than the set is fetched as soon as the rate limit allows', async () => {
    const subject = anAuthenticator(facts);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const rotated = () => signed(privateKey, headerOf(facts, { kid: 'key-2' }), claimsOf(facts));
    await subject.authenticate(aToken());
    subject.script.keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'key-2', alg: 'ES256' }];
    subject.script.monotonicMs = 5_000;
    for (let i = 0; i < 4; i += 1) await subject.authenticate(rotated());
    assert.equal(await refusal(rotated(), subject), 'ReviewLimited');
    subject.script.monotonicMs = 10_000;
    for (let i = 0; i < 20; i += 1) assert.ok((await subject.authenticate(rotated())).ok);
    assert.equal(subject.fetched(), 2);
  });

  it('a key that was not found is not looked up again for a minute', async () => {
    const subject = anAuthenticator(facts);
    const hidden = () =>
      subject.authenticate(signed(facts.key, headerOf(facts, { kid: 'no' }), claimsOf(facts)));
    await subject.authenticate(aToken());
    const fetchedAt = async (ms: number) => {
      subject.script.monotonicMs = ms;
      await hidden();
      return subject.fetched();
    };
    assert.deepEqual(
      [await fetchedAt(10_000), await fetchedAt(40_000), await fetchedAt(69_999), await fetchedAt(70_000)],
      [2, 2, 2, 3],
    );
  });

  it('keys are fetched again after a failed fetch, and are not taken for unknown', async () => {
    const subject = anAuthenticator(facts);
    subject.script.keysAreDown = true;
    await subject.authenticate(aToken());
    subject.script.keysAreDown = false;
    subject.script.monotonicMs = 10_000;
    await subject.authenticate(aToken());
    assert.equal(subject.fetched(), 2);
    assert.equal(
      await refusal(
        signed(
          generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
          headerOf(facts),
          claimsOf(facts),
        ),
        subject,
      ),
      'SignatureInvalid',
    );
  });

  it('a key verifies only the tokens that name it, even if another one is published beside it', async () => {
    const subject = anAuthenticator(facts);
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    subject.script.keys.push({ ...publicKey.export({ format: 'jwk' }), kid: 'key-2', alg: 'ES256' });
    const by = (key: KeyObject, kid: string) => signed(key, headerOf(facts, { kid }), claimsOf(facts));
    assert.ok((await subject.authenticate(by(privateKey, 'key-2'))).ok);
    assert.equal(await refusal(by(privateKey, facts.kid), subject), 'SignatureInvalid');
    assert.equal(await refusal(by(facts.key, 'key-2'), subject), 'SignatureInvalid');
  });

  it('tokens of keys that are not published are left to the review, at a limited rate', async () => {
    const subject = anAuthenticator(facts);
    const unknown = () => signed(facts.key, headerOf(facts, { kid: 'hidden' }), claimsOf(facts));
    for (let i = 0; i < 4; i += 1) assert.ok((await subject.authenticate(unknown())).ok);
    assert.equal(await refusal(unknown(), subject), 'ReviewLimited');
    assert.equal(subject.reviewed(), 4);
    subject.script.monotonicMs = 500;
    assert.ok((await subject.authenticate(unknown())).ok);
  });

  it('the endpoint works when keys cannot be fetched', async () => {
    const subject = anAuthenticator(facts);
    subject.script.keysAreDown = true;
    assert.ok((await subject.authenticate(aToken())).ok);
  });

  it('keys for encryption, of unknown kinds or without a kid verify nothing', async () => {
    for (const different of [{ use: 'enc' }, { kid: undefined }, { kty: 'oct' }, { crv: 'P-999' }]) {
      const subject = anAuthenticator(facts);
      subject.script.keys = subject.script.keys.map((jwk) => ({ ...jwk, ...different }));
      subject.script.review = { authenticated: false };
      assert.equal(await refusal(aToken(), subject), 'TokenRefused');
    }
  });
});
