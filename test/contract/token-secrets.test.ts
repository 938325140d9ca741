import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Agent } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { connect } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { type Collector, startCollector } from '../cluster/collector.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { waitFor } from '../cluster/process.ts';
import { webAlgorithm, webKeyPair } from '../spiffe/pki/authorities.ts';
import { keyShelf } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';
import { claimsOf, headerOf, signed } from '../token/caller/bad-tokens.ts';
import {
  type Call,
  factsOf,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { describeTraces } from './traces.ts';
import { createPod } from './workloads.ts';

/** As long as what is looked for: no shorter part of a secret is any use. */
const partLength = 16;
const key = keyShelf();

/** A signer that logs all that it can, and sends traces to a real collector. */
describe('the token endpoint in logs and traces', () => {
  let controlPlane: ControlPlane;
  let collector: Collector;
  let endpoint: TokenSigner;
  let bundlePort: number;
  const secrets: string[] = [];
  const keep = (text: string) => {
    secrets.push(text);
    return text;
  };
  const secret = () => keep(`s3cr3t${randomBytes(18).toString('hex')}`);

  before(async () => {
    controlPlane = await startControlPlane();
    collector = await startCollector();
    const installed = await installTokenEndpoint(controlPlane);
    [bundlePort = 0] = await freePorts(1);
    endpoint = await startTokenSigner(installed, {
      flags: [
        ...['--log-level', 'debug', '--token-address-rate', '100000', '--token-pod-rate', '100000'],
        ...['--x509-svid', 'true', '--leaf-pod-identity', 'true', '--token-client-certificates', 'true'],
        ...['--bundle-spiffe-address', `127.0.0.1:${bundlePort}`, '--traces-endpoint', collector.url],
      ],
    });
    await endpoint.signer.ready();
  });
  after(async () => {
    endpoint?.agent.destroy();
    await collector?.remove();
    await controlPlane?.stop();
  });

  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const json = { 'content-type': 'application/json' };
  const post = (path: string, headers: Call['headers'], body: string | Buffer) =>
    endpoint.call({ method: 'POST', path, headers: headers ?? {}, body });
  const aToken = async (audiences?: string[]) =>
    keep(await tokenFor(controlPlane, await createPod(controlPlane), audiences ? { audiences } : {}));

  /** What is no good token, in all the ways in which that is found out. */
  async function badTokens(good: string): Promise<string[]> {
    const facts = await factsOf(controlPlane, await createPod(controlPlane));
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const [head, body] = good.split('.');
    return [
      secret(),
      `${secret()}.${secret()}.${secret()}`,
      `${head}.${body}.${secret()}`,
      good.slice(0, -5),
      `${good}.`,
      signed(stranger, { alg: 'ES256', kid: secret() }, claimsOf(facts)),
      signed(stranger, { alg: secret(), kid: 'k' }, claimsOf(facts)),
      signed(stranger, { alg: 'ES256', kid: 'k', typ: secret() }, claimsOf(facts)),
      signed(stranger, { alg: 'ES256', kid: 'k', [secret()]: 'x' }, claimsOf(facts)),
      ...['iss', 'sub', 'aud', 'jti', 'exp'].map((claim) =>
        signed(stranger, { alg: 'ES256', kid: 'k' }, claimsOf(facts, { [claim]: secret() })),
      ),
      signed(facts.key, headerOf(facts), claimsOf(facts, { iss: `https://other.example/${keep(good)}` })),
      signed(facts.key, headerOf(facts), claimsOf(facts, { aud: [secret()] })),
      signed(facts.key, headerOf(facts), claimsOf(facts, { exp: 1 })),
    ].map(keep);
  }

  /** What a stranger shows as client certificate, with its key. */
  async function aStrangersCertificate(): Promise<{ key: string; cert: string }> {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const made = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${secret()}`,
      signingAlgorithm: webAlgorithm('ECDSA P-256'),
      keys: await webKeyPair('ECDSA P-256', privateKey),
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${secret()}/a` }]),
      ],
    });
    const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    keepPem(pem);
    keepPem(made.toString('pem'));
    return { key: pem, cert: made.toString('pem') };
  }

  const keepPem = (pem: string) => keep(pem.split('\n').slice(1, -2).join(''));

  async function aRequestFullOfSecrets(): Promise<Buffer> {
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: `CN=${secret()}`,
      keys: await webKeyPair('ECDSA P-256', key('ECDSA P-256').privateKey),
      signingAlgorithm: webAlgorithm('ECDSA P-256'),
      extensions: [
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${secret()}/a` }]),
      ],
      attributes: [new x509.ChallengePasswordAttribute(secret())],
    });
    return Buffer.from(made.rawData);
  }

  /** Sends bytes over a new connection and reads until the other end closes. */
  async function raw(
    bytes: string,
    over: 'tcp' | 'tls',
    port: number,
    servername = 'localhost',
  ): Promise<void> {
    const socket: Socket =
      over === 'tcp'
        ? connectTcp(port, '127.0.0.1')
        : connect({ host: '127.0.0.1', port, rejectUnauthorized: false, servername });
    // What is cut may be reset, so that no event but the last one is awaited.
    socket.on('error', () => undefined);
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.end(bytes);
    socket.resume();
    await closed;
  }

  /** Everything that callers may send, each with a secret where it may stand. */
  it('no secret of a caller, and no part of one, is in a log line, audit line, metric, Event or trace', async () => {
    const good = await aToken();
    const forCertificates = await aToken([x509Audience]);
    const bad = await badTokens(good);
    const request = stubRequest(key('ECDSA P-256'));
    const privateKey = String(key('Ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
    keepPem(privateKey);

    // As the credential, by each way in.
    for (const token of [...bad, good, forCertificates]) {
      await endpoint.exchange(token);
      await post('/jwt-svid', { ...json, authorization: `Bearer ${token}` }, '{"audience":"a"}');
      await endpoint.certify(token, request);
      await post('/token', { ...form, authorization: `Bearer ${token}` }, 'a=b');
      await post('/x509-svid', { authorization: [`Bearer ${token}`, `Bearer ${token}`] }, request);
      await post('/jwt-svid', { ...json, authorization: token }, '{"audience":"a"}');
      await post('/jwt-svid', { ...json, authorization: `Basic ${token}` }, '{"audience":"a"}');
    }

    // In the place of the audience: swapped with the credential, beside a bad one, beside a good one.
    for (const audience of [good, bad[0] ?? '', privateKey, 'x'.repeat(2_000) + secret()]) {
      await endpoint.exchange('https://api.example.com', { audience });
      await endpoint.exchange(bad[2] ?? '', { audience });
      for (const value of [audience, [audience, 'a'], [[audience]], { [secret()]: audience }]) {
        const body = JSON.stringify({ audience: value });
        await post('/jwt-svid', { ...json, authorization: `Bearer ${secret()}` }, body);
        await post('/jwt-svid', json, body);
      }
    }
    const swapped = await endpoint.exchange(good, { audience: good });
    assert.equal(swapped.json.reason, 'AudienceMalformed', swapped.text);

    // As another parameter, as its name, and as a body that is none.
    for (const parameter of [
      'grant_type',
      'subject_token_type',
      'requested_token_type',
      'actor_token',
      'scope',
    ]) {
      await endpoint.exchange(good, { [parameter]: secret() });
    }
    await endpoint.exchange(good, { [secret()]: 'x' });
    await post('/token', form, `${secret()}=%zz`);
    await post('/token', form, secret());
    await post('/jwt-svid', { ...json, authorization: `Bearer ${good}` }, `{"audience":"a","${secret()}":1}`);
    await post('/jwt-svid', { ...json, authorization: `Bearer ${good}` }, secret());
    const requests = [
      secret(),
      await aRequestFullOfSecrets(),
      privateKey,
      privateKey + String(request.toString('base64')),
      `-----BEGIN ${secret()}-----\n${secret()}\n-----END CERTIFICATE REQUEST-----\n`,
      `-----BEGIN CERTIFICATE REQUEST-----\n${secret()}\n-----END CERTIFICATE REQUEST-----\n`,
    ];
    for (const body of requests) await endpoint.certify(forCertificates, body);

    // In the request line and the headers.
    await post(`/token?subject_token=${secret()}`, form, '');
    for (const path of ['/', '/keys/', '/keys?a=', '/%ff', '//', '/token/']) {
      await endpoint.call({ path: path + secret() });
      await raw(`GET ${path}${secret()} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 'tls', bundlePort);
    }
    const named = [
      'cookie',
      'authorization',
      'x-token',
      'x-forwarded-for',
      'forwarded',
      'user-agent',
      'referer',
      'traceparent',
      'tracestate',
      'baggage',
    ];
    for (const name of [
      ...named,
      'accept',
      'if-none-match',
      'accept-encoding',
      'host',
      'content-type',
      'origin',
    ]) {
      await endpoint.call({ path: '/keys', headers: { [name]: secret() } });
      await post('/token', { ...form, [name]: secret() }, 'a=b');
    }
    const lines = [
      `${secret()} / HTTP/1.1`,
      `GET /keys HTTP/${secret()}`,
      `GET /keys HTTP/1.1\r\n${secret()}: x\r\n${secret()}`,
      `GET /keys HTTP/1.1\r\nContent-Length: ${secret()}`,
      `GET /keys HTTP/1.1\r\nTransfer-Encoding: ${secret()}`,
      `GET ${secret()}://${secret()}/keys HTTP/1.1`,
      `CONNECT ${secret()}:443 HTTP/1.1`,
      `GET /keys HTTP/1.1\r\nX: ${secret().repeat(500)}`,
    ];
    for (const port of [endpoint.port, bundlePort]) {
      for (const line of lines) {
        await raw(`${line}\r\nHost: a\r\nConnection: close\r\n\r\n`, 'tls', port, `${secret()}.example`);
        await raw(`${line}\r\nHost: a\r\n\r\n`, 'tcp', port);
      }
    }

    // As client certificate.
    const credentials = await aStrangersCertificate();
    for (const path of ['/jwt-svid', '/token', '/x509-svid']) {
      const agent = new Agent({ ...credentials, rejectUnauthorized: false, servername: 'localhost' });
      await endpoint.call({ method: 'POST', path, headers: json, body: `{"audience":"${secret()}"}` }, agent);
      agent.destroy();
    }

    const issued = await endpoint.exchange(good);
    assert.equal(issued.status, 200, issued.text);
    keep(String(issued.json.access_token));
    const certified = await endpoint.certify(forCertificates, request);
    assert.equal(certified.status, 200, certified.text);
    const issuedId = JSON.parse(
      Buffer.from(String(issued.json.access_token).split('.')[1] ?? '', 'base64url').toString(),
    ).jti;
    await waitFor('the last audit lines', () => endpoint.signer.output().includes(issuedId));
    const { traceId } = endpoint.signer.lines().find(({ tokenId }) => tokenId === issuedId) ?? {};
    await waitFor('the last trace', async () => (await collector.output()).includes(String(traceId)));

    const metrics = await (await fetch(`${endpoint.signer.url}/metrics`)).text();
    const events = await controlPlane.request('GET', '/apis/events.k8s.io/v1/events');
    const output = [
      endpoint.signer.output(),
      metrics,
      JSON.stringify(events.body),
      await collector.output(),
    ].join('\n');
    assert.match(output, /"level":"debug"/);
    assert.match(output, /"reason":"RouteUnknown"/);
    assert.ok(secrets.length > 120, `${secrets.length} secrets`);
    assert.deepEqual(partsIn(output, secrets), []);
    assert.doesNotMatch(output, /PRIVATE KEY|eyJ[\w-]{10,}\./);
  });

  describeTraces(() => ({ controlPlane, endpoint, collector }));
});

/** Every part of a secret that stands in a text. */
function partsIn(text: string, secrets: readonly string[]): string[] {
  const parts = new Set<string>();
  for (const secret of secrets) {
    for (let at = 0; at + partLength <= secret.length; at += 1) parts.add(secret.slice(at, at + partLength));
  }
  const found = new Set<string>();
  for (let at = 0; at + partLength <= text.length; at += 1) {
    if (!parts.has(text.slice(at, at + partLength))) continue;
    // The line in which it stands says enough.
    found.add(text.slice(text.lastIndexOf('\n', at) + 1, at + 60));
    at += 200;
  }
  return [...found];
}
