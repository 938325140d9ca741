import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import type { RefusalCode } from '../../../signer/observe/refusals.ts';

/** What a sound token of a cluster is made of, so that tests can change one thing at a time. */
export interface TokenFacts {
  /** The key of the API server: EC P-256. */
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
  readonly kid: string;
  readonly issuer: string;
  readonly audience: string;
  /** One of the API server's own audiences. */
  readonly apiAudience: string;
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  /** Seconds since the epoch. */
  readonly now: number;
}

type Json = Record<string, unknown>;

export function headerOf(facts: TokenFacts, different: Json = {}): Json {
  return { alg: 'ES256', kid: facts.kid, ...different };
}

/** The claims as kube-apiserver writes them. */
export function claimsOf(facts: TokenFacts, different: Json = {}): Json {
  const { namespace, serviceAccount, pod, now } = facts;
  return {
    aud: [facts.audience],
    exp: now + 3000,
    iat: now - 10,
    iss: facts.issuer,
    jti: randomUUID(),
    'kubernetes.io': { namespace, pod, serviceaccount: serviceAccount },
    nbf: now - 10,
    sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
    ...different,
  };
}

const base64url = (text: string | Uint8Array) => Buffer.from(text).toString('base64url');

/** Signs with ES256 any header and payload, given as objects or as text. */
export function signed(key: KeyObject, header: Json | string, payload: Json | string): string {
  const text = (part: Json | string) => (typeof part === 'string' ? part : JSON.stringify(part));
  const input = `${base64url(text(header))}.${base64url(text(payload))}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${base64url(signature)}`;
}

export interface BadToken {
  readonly name: string;
  readonly token: string;
  readonly code: RefusalCode;
}

/** Tokens that are each wrong in one way, signed by the API server's own key wherever a signature can be right. */
export function badTokens(facts: TokenFacts): BadToken[] {
  const { key, now, namespace, serviceAccount, pod } = facts;
  const good = signed(key, headerOf(facts), claimsOf(facts));
  const [head = '', body = '', signature = ''] = good.split('.');
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kubernetes = { namespace, pod, serviceaccount: serviceAccount };
  const withHeader = (different: Json) => signed(key, headerOf(facts, different), claimsOf(facts));
  const withClaims = (different: Json) => signed(key, headerOf(facts), claimsOf(facts, different));
  const withText = (payload: string) => signed(key, headerOf(facts), payload);
  const claimsText = JSON.stringify(claimsOf(facts));
  const insert = (member: string) => `{${member},${claimsText.slice(1)}`;
  const hmac = (secret: string | Buffer) => {
    const input = `${base64url(JSON.stringify(headerOf(facts, { alg: 'HS256' })))}.${body}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  const flipped = (text: string, at: number) =>
    `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
  const publicPem = facts.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const publicDer = facts.publicKey.export({ type: 'spki', format: 'der' });
  const publicJwk = JSON.stringify(facts.publicKey.export({ format: 'jwk' }));
  const strangerJwk = stranger.publicKey.export({ format: 'jwk' });
  const der = base64url(sign('sha256', Buffer.from(`${head}.${body}`), key));

  const rows: [RefusalCode, string, string][] = [
    // Form.
    ['TokenMalformed', 'one part', 'abc'],
    ['TokenMalformed', 'two parts', `${head}.${body}`],
    ['TokenMalformed', 'four parts', `${good}.${signature}`],
    ['TokenMalformed', 'five parts, as if encrypted', `${good}.a.b`],
    ['SignatureInvalid', 'no signature', `${head}.${body}.`],
    ['TokenMalformed', 'no payload', `${head}..${signature}`],
    ['TokenMalformed', 'padding in a part', `${head}=.${body}.${signature}`],
    ['TokenMalformed', 'padding in the payload', `${head}.${body}==.${signature}`],
    ['TokenMalformed', 'padding in the signature', `${good}==`],
    ['TokenMalformed', 'white space inside', `${head}. ${body}.${signature}`],
    ['TokenMalformed', 'white space before it', ` ${good}`],
    ['TokenMalformed', 'a line break after it', `${good}\n`],
    ['TokenMalformed', 'lines of 76 characters', good.replaceAll(/.{76}/g, '$&\n')],
    ['TokenMalformed', 'base64 of the other alphabet', `${head}.${body}+/.${signature}`],
    ['TokenMalformed', 'base64 with stray bits', `${head}.${body}.${signature.slice(0, -1)}${'B'}`],
    [
      'TokenMalformed',
      'the JSON serialization',
      JSON.stringify({ protected: head, payload: body, signature }),
    ],
    ['TokenMalformed', 'a header that is no JSON', signed(key, 'alg=ES256', claimsOf(facts))],
    ['TokenMalformed', 'a header that is a list', signed(key, '["ES256"]', claimsOf(facts))],
    [
      'TokenMalformed',
      'a header that is not UTF-8',
      `${base64url(Buffer.from([0x7b, 0xff, 0x7d]))}.${body}.${signature}`,
    ],
    ['TokenMalformed', 'a payload that is no JSON', withText('claims')],
    ['TokenMalformed', 'a payload that is null', withText('null')],
    ['TokenMalformed', 'a payload that is a list', withText('[]')],
    ['TokenMalformed', 'more than 8 KiB', withClaims({ more: 'x'.repeat(8192) })],
    ['TokenMalformed', 'a payload of lists in lists', withText('['.repeat(3000) + ']'.repeat(3000))],
    ['TokenMalformed', 'a second payload behind the first', withText(`${claimsText}${claimsText}`)],
    ['TokenMalformed', 'a payload with a byte order mark', withText(`\ufeff${claimsText}`)],
    // Names twice: a reader of the first sees another token than a reader of the last.
    [
      'TokenMalformed',
      'alg twice',
      signed(key, `{"alg":"none","alg":"ES256","kid":"${facts.kid}"}`, claimsOf(facts)),
    ],
    ['TokenMalformed', 'sub twice', withText(insert('"sub":"system:serviceaccount:kube-system:admin"'))],
    ['TokenMalformed', 'iss twice', withText(insert('"iss":"https://other.example"'))],
    [
      'TokenMalformed',
      'kid twice',
      signed(key, `{"alg":"ES256","kid":"other","kid":"${facts.kid}"}`, claimsOf(facts)),
    ],
    ['TokenMalformed', 'aud twice', withText(insert('"aud":["other"]'))],
    ['TokenMalformed', 'exp twice', withText(insert('"exp":1'))],
    ['TokenMalformed', 'sub twice, once in escapes', withText(insert('"s\\u0075b":"x"'))],
    ['TokenMalformed', 'the pod twice', withText(claimsText.replace('"pod":', '"pod":null,"pod":'))],
    // Header.
    ['AlgorithmUnsupported', 'alg none', `${base64url('{"alg":"none","kid":"k"}')}.${body}.${signature}`],
    ['AlgorithmUnsupported', 'alg None', withHeader({ alg: 'None' })],
    ['AlgorithmUnsupported', 'HS256 with the public key as secret', hmac(publicPem)],
    ['AlgorithmUnsupported', 'HS256 with the public key in DER as secret', hmac(publicDer)],
    ['AlgorithmUnsupported', 'HS256 with the published JWK as secret', hmac(publicJwk)],
    ['AlgorithmUnsupported', 'HS256 with an empty secret', hmac('')],
    ['AlgorithmUnsupported', 'EdDSA', withHeader({ alg: 'EdDSA' })],
    ['AlgorithmUnsupported', 'an algorithm in lower case', withHeader({ alg: 'es256' })],
    ['AlgorithmUnsupported', 'PS512, which no API server uses', withHeader({ alg: 'PS512' })],
    ['AlgorithmPostQuantum', 'ML-DSA-65', withHeader({ alg: 'ML-DSA-65' })],
    ['TokenMalformed', 'no alg', signed(key, { kid: facts.kid }, claimsOf(facts))],
    ['TokenMalformed', 'alg a number', withHeader({ alg: 256 })],
    ['SignatureInvalid', 'RS256 for a key of ES256', withHeader({ alg: 'RS256' })],
    ['SignatureInvalid', 'ES384 for a key of ES256', withHeader({ alg: 'ES384' })],
    ['TokenMalformed', 'no kid', signed(key, { alg: 'ES256' }, claimsOf(facts))],
    ['TokenMalformed', 'an empty kid', withHeader({ kid: '' })],
    ['TokenMalformed', 'kid a number', withHeader({ kid: 1 })],
    ['TokenMalformed', 'kid with a line break', withHeader({ kid: `${facts.kid}\n` })],
    ['TokenMalformed', 'kid of 2 KB', withHeader({ kid: 'k'.repeat(2048) })],
    ['TokenMalformed', 'kid of 1 MB', withHeader({ kid: 'k'.repeat(1_000_000) })],
    ['TokenMalformed', 'typ at+jwt', withHeader({ typ: 'at+jwt' })],
    ['TokenMalformed', 'typ JOSE+JSON', withHeader({ typ: 'JOSE+JSON' })],
    ['TokenMalformed', 'crit', withHeader({ crit: ['exp'], exp: now + 60 })],
    ['TokenMalformed', 'b64 false', withHeader({ b64: false, crit: ['b64'] })],
    [
      'TokenMalformed',
      'an embedded jwk',
      signed(stranger.privateKey, headerOf(facts, { jwk: strangerJwk }), claimsOf(facts)),
    ],
    ['TokenMalformed', 'jku', withHeader({ jku: 'https://evil.example/keys' })],
    ['TokenMalformed', 'x5u', withHeader({ x5u: 'https://evil.example/chain' })],
    ['TokenMalformed', 'x5c', withHeader({ x5c: ['AAAA'] })],
    ['TokenMalformed', 'x5t', withHeader({ x5t: 'AAAA' })],
    ['TokenMalformed', 'cty JWT, as if another token were in it', withHeader({ cty: 'JWT' })],
    ['TokenMalformed', 'zip', withHeader({ zip: 'DEF' })],
    // Signature.
    [
      'SignatureInvalid',
      'another key with our kid',
      signed(stranger.privateKey, headerOf(facts), claimsOf(facts)),
    ],
    ['SignatureInvalid', 'an altered payload', `${head}.${base64url(claimsText)}.${signature}`],
    ['SignatureInvalid', 'an altered signature', `${head}.${body}.${flipped(signature, 5)}`],
    ['SignatureInvalid', 'a signature of another token', `${head}.${body}.${withClaims({}).split('.')[2]}`],
    ['SignatureInvalid', 'a signature in DER', `${head}.${body}.${der}`],
    ['SignatureInvalid', 'a signature of zeros', `${head}.${body}.${base64url(new Uint8Array(64))}`],
    ['SignatureInvalid', 'half a signature', `${head}.${body}.${signature.slice(0, 40)}`],
    ['SignatureInvalid', 'a signature with more behind it', `${head}.${body}.${signature.slice(0, -2)}AAAA`],
    // Issuer and audience.
    ['IssuerUnknown', 'another issuer', withClaims({ iss: 'https://other.example' })],
    ['IssuerUnknown', 'the issuer with a slash', withClaims({ iss: `${facts.issuer}/` })],
    ['IssuerUnknown', 'an empty issuer', withClaims({ iss: '' })],
    ['IssuerUnknown', 'the issuer in capitals', withClaims({ iss: facts.issuer.toUpperCase() })],
    ['ClaimsMalformed', 'no issuer', withClaims({ iss: undefined })],
    ['ClaimsMalformed', 'a list of issuers', withClaims({ iss: [facts.issuer] })],
    ['AudienceWrong', 'the audience of the API server', withClaims({ aud: [facts.apiAudience] })],
    ['AudienceWrong', 'that audience as a string', withClaims({ aud: facts.apiAudience })],
    [
      'AudienceWrong',
      'the audience of the endpoint of another trust domain',
      withClaims({ aud: ['spiffe://other.example/kubespiffe/token-endpoint'] }),
    ],
    ['AudienceWrong', 'another and ours', withClaims({ aud: ['vault', facts.audience] })],
    ['AudienceWrong', 'ours and others in one string', withClaims({ aud: `${facts.audience} vault` })],
    ['AudienceWrong', 'ours with a slash', withClaims({ aud: [`${facts.audience}/`] })],
    ['AudienceWrong', 'ours and another', withClaims({ aud: [facts.audience, 'vault'] })],
    ['AudienceWrong', 'ours twice', withClaims({ aud: [facts.audience, facts.audience] })],
    ['AudienceWrong', 'no audience', withClaims({ aud: undefined })],
    ['AudienceWrong', 'an empty list of audiences', withClaims({ aud: [] })],
    ['AudienceWrong', 'an empty audience', withClaims({ aud: [''] })],
    ['AudienceWrong', 'ours in capitals', withClaims({ aud: [facts.audience.toUpperCase()] })],
    ['ClaimsMalformed', 'ours in a list in a list', withClaims({ aud: [[facts.audience]] })],
    ['ClaimsMalformed', 'audience an object', withClaims({ aud: { [facts.audience]: true } })],
    ['ClaimsMalformed', 'ours and a number', withClaims({ aud: [facts.audience, 1] })],
    ['ClaimsMalformed', 'audience null', withClaims({ aud: null })],
    // Times.
    ['TokenExpired', 'expired a second ago', withClaims({ exp: now - 1 })],
    ['TokenExpired', 'expired long ago', withClaims({ exp: 1 })],
    ['ClaimsMalformed', 'no exp', withClaims({ exp: undefined })],
    ['ClaimsMalformed', 'exp as text', withClaims({ exp: String(now + 600) })],
    ['ClaimsMalformed', 'exp null', withClaims({ exp: null })],
    [
      'ClaimsMalformed',
      'exp of a thousand digits',
      withText(claimsText.replace(/"exp":\d+/, `"exp":${'9'.repeat(1000)}`)),
    ],
    ['ClaimsMalformed', 'exp beyond all numbers', withText(claimsText.replace(/"exp":\d+/, '"exp":1e400'))],
    ['ClaimsMalformed', 'exp in milliseconds', withClaims({ exp: (now + 600) * 1000 })],
    ['ClaimsMalformed', 'exp below zero', withClaims({ exp: -1 })],
    ['ClaimsMalformed', 'exp a fraction', withClaims({ exp: now + 600.5 })],
    ['ClaimsMalformed', 'no iat', withClaims({ iat: undefined })],
    ['TokenNotYetValid', 'not valid before two minutes from now', withClaims({ nbf: now + 120 })],
    ['TokenNotYetValid', 'made two minutes from now', withClaims({ iat: now + 120 })],
    ['ClaimsMalformed', 'nbf as text', withClaims({ nbf: 'now' })],
    ['ClaimsMalformed', 'iat below zero', withClaims({ iat: -1 })],
    // Whose.
    ['ClaimsMalformed', 'no sub', withClaims({ sub: undefined })],
    [
      'ClaimsMalformed',
      'sub of another ServiceAccount',
      withClaims({ sub: 'system:serviceaccount:kube-system:admin' }),
    ],
    ['ClaimsMalformed', 'sub of a user', withClaims({ sub: 'admin' })],
    ['ClaimsMalformed', 'sub a SPIFFE ID', withClaims({ sub: 'spiffe://example.org/ns/a/sa/b' })],
    ['ClaimsMalformed', 'sub with one part more', withClaims({ sub: `${claimsOf(facts).sub}:admin` })],
    [
      'NotBoundToPod',
      'a JWT-SVID of another trust domain',
      withClaims({ sub: 'spiffe://other.example/ns/a/sa/b', 'kubernetes.io': undefined }),
    ],
    ['NotBoundToPod', 'no claims of Kubernetes', withClaims({ 'kubernetes.io': undefined })],
    ['ClaimsMalformed', 'claims of Kubernetes a list', withClaims({ 'kubernetes.io': [kubernetes] })],
    [
      'NotBoundToPod',
      'bound to nothing',
      withClaims({ 'kubernetes.io': { namespace, serviceaccount: serviceAccount } }),
    ],
    [
      'NotBoundToPod',
      'bound to a Secret',
      withClaims({
        'kubernetes.io': { namespace, serviceaccount: serviceAccount, secret: { name: 's', uid: 'u' } },
      }),
    ],
    [
      'NotBoundToPod',
      'bound to a node',
      withClaims({
        'kubernetes.io': { namespace, serviceaccount: serviceAccount, node: { name: 'n', uid: 'u' } },
      }),
    ],
    [
      'ClaimsMalformed',
      'a pod without UID',
      withClaims({ 'kubernetes.io': { ...kubernetes, pod: { name: pod.name } } }),
    ],
    [
      'ClaimsMalformed',
      'a pod that is a name',
      withClaims({ 'kubernetes.io': { ...kubernetes, pod: pod.name } }),
    ],
    ['ClaimsMalformed', 'no ServiceAccount', withClaims({ 'kubernetes.io': { namespace, pod } })],
    [
      'ClaimsMalformed',
      'another ServiceAccount than sub',
      withClaims({
        'kubernetes.io': { ...kubernetes, serviceaccount: { ...serviceAccount, name: 'other' } },
      }),
    ],
    [
      'ClaimsMalformed',
      'another namespace than sub',
      withClaims({ 'kubernetes.io': { ...kubernetes, namespace: 'other' } }),
    ],
    ['ClaimsMalformed', 'jti a number', withClaims({ jti: 7 })],
    [
      'LegacyToken',
      'a token from a Secret',
      signed(key, headerOf(facts), {
        iss: 'kubernetes/serviceaccount',
        'kubernetes.io/serviceaccount/namespace': namespace,
        'kubernetes.io/serviceaccount/secret.name': 'token-abc',
        'kubernetes.io/serviceaccount/service-account.name': serviceAccount.name,
        'kubernetes.io/serviceaccount/service-account.uid': serviceAccount.uid,
        sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
      }),
    ],
  ];
  return rows.map(([code, name, token]) => ({ name, token, code }));
}

/** Tokens whose form is right, and that only the API server can tell to be wrong. */
export function refusedByReview(facts: TokenFacts): BadToken[] {
  const { key, namespace, serviceAccount, pod } = facts;
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const kubernetes = { namespace, pod, serviceaccount: serviceAccount };
  const bound = (different: Json) => claimsOf(facts, { 'kubernetes.io': { ...kubernetes, ...different } });
  const rows: [string, string][] = [
    ['a kid that is not published', signed(stranger, headerOf(facts, { kid: 'unknown' }), claimsOf(facts))],
    ['a kid that is a path', signed(stranger, headerOf(facts, { kid: '../../keys/1' }), claimsOf(facts))],
    ['a kid that is a query', signed(stranger, headerOf(facts, { kid: "'OR'1'='1" }), claimsOf(facts))],
    [
      'a pod that is not there',
      signed(key, headerOf(facts), bound({ pod: { name: 'ghost', uid: randomUUID() } })),
    ],
    ['another UID of the pod', signed(key, headerOf(facts), bound({ pod: { ...pod, uid: randomUUID() } }))],
    [
      'another UID of the ServiceAccount',
      signed(key, headerOf(facts), bound({ serviceaccount: { ...serviceAccount, uid: randomUUID() } })),
    ],
    [
      'a pod of another ServiceAccount, by that account',
      signed(key, headerOf(facts), {
        ...bound({ serviceaccount: { name: 'other', uid: serviceAccount.uid } }),
        sub: `system:serviceaccount:${namespace}:other`,
      }),
    ],
    [
      'a namespace that is a path',
      signed(key, headerOf(facts), {
        ...bound({ namespace: `../namespaces/${namespace}` }),
        sub: `system:serviceaccount:../namespaces/${namespace}:${serviceAccount.name}`,
      }),
    ],
    [
      'a pod whose name is a path',
      signed(key, headerOf(facts), bound({ pod: { ...pod, name: `../pods/${pod.name}` } })),
    ],
    [
      'a ServiceAccount that is not there',
      signed(key, headerOf(facts), {
        ...bound({ serviceaccount: { name: 'ghost', uid: randomUUID() } }),
        sub: `system:serviceaccount:${namespace}:ghost`,
      }),
    ],
  ];
  return rows.map(([name, token]) => ({ name, token, code: 'TokenRefused' as const }));
}
