import 'reflect-metadata';
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { KeyUsageFlags } from '@peculiar/x509';
import { stringify } from 'yaml';
import { createAuthority } from '../../signer/authority/create.ts';
import { newPool } from '../../signer/authority/document.ts';
import { parsePool } from '../../signer/authority/pool.ts';
import { serializePool } from '../../signer/authority/pool-secret.ts';
import { extension, leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { oids } from '../../spiffe/pki/oid.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../spiffe/pki/spki.ts';
import { subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { makeCa } from '../authority/authorities.ts';
import { run } from './run.ts';

const now = Math.floor(Date.now() / 1000);
const record = await createAuthority({ id: 'ca-1', trustDomain: 'example.org', now });
const root = record.certificate ?? '';
const pool = newPool('example.org', record);
const uri = 'spiffe://example.org/ns/default/sa/web';

interface Leaf {
  readonly pem: string;
  readonly key: KeyObject;
  readonly keyPem: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A leaf of the pool, as the signer makes it. */
async function makeLeaf(
  changes: { uri?: string; notBefore?: number; notAfter?: number; furtherExtensions?: Uint8Array } = {},
): Promise<Leaf> {
  const parsed = parsePool(
    { metadata: { name: 'pool' }, data: serializePool(pool) },
    { trustDomain: 'example.org', now },
  );
  const authority = parsed.pool?.active?.signingAuthority;
  assert.ok(authority);
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const subject = readSubjectKey(publicKey.export({ format: 'der', type: 'spki' }));
  assert.ok(subject.kind === 'supported');
  const { notBefore = now - 120, notAfter = now + 7200 } = changes;
  const template = authority.templateFor(svidProfile);
  const tbs = template.build({
    serial: makeSerial(randomBytes),
    notBefore,
    notAfter,
    key: subject,
    subjectAltName: subjectAltName({ uris: [changes.uri ?? uri], dnsNames: [] }),
    furtherExtensions: changes.furtherExtensions,
  });
  const der = template.assemble(tbs, await authority.signer.sign(tbs));
  const keyPem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  return { pem: encodePem('CERTIFICATE', der), key: publicKey, keyPem, notBefore, notAfter };
}

const leaf = await makeLeaf();
/** A CA that may not sign certificates and has nothing to do with the pool. */
const stranger = await makeCa({
  notBefore: now - 60,
  notAfter: now + 3600,
  keyUsage: KeyUsageFlags.digitalSignature,
});

interface Judged {
  readonly code: number | null;
  readonly kind: string;
  readonly conforms: boolean;
  /** The problems of all clauses that are not fulfilled. */
  readonly broken: string[];
}

async function judge(input: string | Buffer, ...flags: string[]): Promise<Judged> {
  const { code, stdout, stderr } = await run(['inspect', '-', '-o', 'json', ...flags], { input });
  assert.equal(stderr, '');
  const { kind, conforms, sections } = JSON.parse(stdout);
  const findings = sections.flatMap(
    (section: { findings: { ok: boolean; message: string }[] }) => section.findings,
  );
  const broken = findings
    .filter((each: { ok: boolean }) => !each.ok)
    .map((each: { message: string }) => each.message);
  return { code, kind, conforms, broken };
}

function requestOf(changes: { spec?: object; status?: object; leaf?: Leaf } = {}): object {
  const { pem, key, notBefore, notAfter } = changes.leaf ?? leaf;
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
  return {
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'PodCertificateRequest',
    metadata: { namespace: 'default', name: 'req-1', creationTimestamp: iso(now) },
    spec: {
      signerName: 'kubespiffe.io/spiffe',
      podName: 'web-1',
      podUID: 'u1',
      serviceAccountName: 'web',
      serviceAccountUID: 'u2',
      nodeName: 'node-1',
      nodeUID: 'u3',
      maxExpirationSeconds: 86_400,
      pkixPublicKey: key.export({ format: 'der', type: 'spki' }).toString('base64'),
      ...changes.spec,
    },
    status: {
      conditions: [
        { type: 'Issued', status: 'True', reason: 'Issued', message: 'ok', lastTransitionTime: iso(now) },
      ],
      certificateChain: pem,
      notBefore: iso(notBefore),
      notAfter: iso(notAfter),
      beginRefreshAt: iso(now + 3600),
      ...changes.status,
    },
  };
}

describe('what `kubespiffe inspect` accepts', () => {
  const spiffeBundle = {
    keys: [
      {
        ...new X509Certificate(root).publicKey.export({ format: 'jwk' }),
        use: 'x509-svid',
        x5c: [root.split('\n').slice(1, -2).join('')],
      },
    ],
    spiffe_sequence: 1,
    spiffe_refresh_hint: 300,
  };
  const rows: [name: string, input: string | Buffer, kind: string][] = [
    ['a leaf', leaf.pem, 'certificate'],
    ['a leaf as DER', Buffer.from(leaf.pem.split('\n').slice(1, -2).join(''), 'base64'), 'certificate'],
    ['a credential bundle', leaf.keyPem + leaf.pem, 'credential bundle'],
    ['a root', root, 'CA certificate'],
    ['a pool', JSON.stringify(pool), 'pool'],
    [
      'a pool Secret',
      stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'p' }, data: serializePool(pool) }),
      'pool',
    ],
    ['a SPIFFE bundle', JSON.stringify(spiffeBundle), 'SPIFFE bundle'],
    [
      'a ClusterTrustBundle',
      stringify({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'ClusterTrustBundle',
        metadata: { name: 'kubespiffe.io:spiffe:roots' },
        spec: { signerName: 'kubespiffe.io/spiffe', trustBundle: root },
      }),
      'ClusterTrustBundle',
    ],
    ['an issued request', stringify(requestOf()), 'PodCertificateRequest'],
    ['a pending request', JSON.stringify(requestOf({ status: { conditions: [] } })), 'PodCertificateRequest'],
  ];
  for (const [name, input, kind] of rows) {
    it(`inspect knows ${name}, finds nothing wrong and ends with 0`, async () => {
      assert.deepEqual(await judge(input), { code: 0, kind, conforms: true, broken: [] });
    });
  }

  it('inspect does not report that a request conforms while there is no certificate to check', async () => {
    const last = async (conditions: object[]) => {
      const input = JSON.stringify(requestOf({ status: { conditions } }));
      const { stdout } = await run(['inspect', '-'], { input });
      return stdout.trimEnd().split('\n').at(-1);
    };
    assert.match(
      (await last([])) ?? '',
      /^Result: not answered yet: .*`kubectl describe pod -n default web-1`/,
    );
    const denied = {
      type: 'Denied',
      status: 'True',
      reason: 'X',
      message: 'no',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    assert.equal(await last([denied]), 'Result: Denied: there is no certificate to check');
    const { stdout } = await run(['inspect', '-'], { input: JSON.stringify(requestOf()) });
    assert.match(stdout, /^Result: conforms/m);
  });

  it('inspect names pod and issuer if a leaf has them, and reports if they cannot be read', async () => {
    const identity = {
      namespace: 'default',
      serviceAccountName: 'web',
      serviceAccountUID: 'u2',
      podName: 'web-1',
      podUID: 'u1',
      nodeName: 'node-1',
      nodeUID: 'u3',
    };
    const issuer = 'https://id.example.org';
    const shown = async (furtherExtensions: Uint8Array | undefined) => {
      const { pem } = await makeLeaf({ ...(furtherExtensions && { furtherExtensions }) });
      const { stdout } = await run(['inspect', '-', '-o', 'json'], { input: pem });
      const { sections } = JSON.parse(stdout) as {
        sections: { extensions: { name: string; value: string }[] }[];
      };
      const extensions = sections[0]?.extensions ?? [];
      return ['podIdentity', 'issuerAltName'].map(
        (wanted) => extensions.find(({ name }) => name === wanted)?.value,
      );
    };
    assert.deepEqual(await shown(leafExtensions({ podIdentity: true, issuer })(identity)), [
      'pod default/web-1 (u1), ServiceAccount web (u2), node node-1 (u3)',
      `URI:${issuer}`,
    ]);
    assert.deepEqual(await shown(undefined), [undefined, undefined]);
    const [pod] = await shown(extension(oids.podIdentity, 'not critical', Uint8Array.of(5, 0)));
    assert.equal(pod, '(unreadable, 2 bytes)');
  });

  it('inspect verifies a chain up to given roots, for people and for programs', async () => {
    const { code, stdout } = await run(['inspect', '-'], { input: leaf.keyPem + leaf.pem });
    assert.equal(code, 0);
    for (const line of [
      /SPIFFE ID +spiffe:\/\/example\.org\/ns\/default\/sa\/web/,
      /Result: conforms/,
      /not shown/,
    ]) {
      assert.match(stdout, line);
    }
    const yaml = await run(['inspect', '-', '-o', 'yaml'], { input: leaf.pem });
    assert.match(yaml.stdout, /^kind: certificate$/m);
  });
});

describe('`kubespiffe inspect` on several objects', () => {
  const second = requestOf({ spec: { serviceAccountUID: 'u9' } });
  const late = requestOf({ status: { certificateChain: '' } });
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'default', name: 'web' } };
  const bundle = {
    metadata: { name: 'kubespiffe.io:spiffe:roots' },
    spec: { signerName: 'kubespiffe.io/spiffe', trustBundle: root },
  };
  const rows: [name: string, input: string, kind: string, broken: string[]][] = [
    [
      'a List as kubectl prints it',
      stringify({ apiVersion: 'v1', kind: 'List', items: [requestOf(), second] }),
      '2 objects',
      [],
    ],
    ['a List of one object', JSON.stringify({ kind: 'List', items: [second] }), 'PodCertificateRequest', []],
    [
      'a list as the API server answers it, whose items have no kind',
      JSON.stringify({ kind: 'ClusterTrustBundleList', items: [bundle, bundle] }),
      '2 objects',
      [],
    ],
    [
      'YAML documents, empty ones and other kinds among them',
      ['', stringify(second), '# nothing\n', stringify(pod), stringify(late)].join('---\n'),
      '3 objects',
      ['there is no certificate chain'],
    ],
    [
      'an object that cannot be read, among others',
      JSON.stringify({
        kind: 'ClusterTrustBundleList',
        items: [{ ...bundle, spec: { ...bundle.spec, trustBundle: root.replace('MII', 'MIJ') } }, bundle],
      }),
      '2 objects',
      ['certificate 1 cannot be read: '],
    ],
  ];
  for (const [name, input, kind, broken] of rows) {
    it(`inspect reads ${name}`, async () => {
      const judged = await judge(input);
      assert.deepEqual([judged.code, judged.kind], [broken.length === 0 ? 0 : 1, kind]);
      assert.equal(judged.broken.length, broken.length, judged.broken.join());
      for (const [index, start] of broken.entries()) assert.ok(judged.broken[index]?.startsWith(start));
    });
  }

  it('inspect names the object before each part of it, and reports which were not inspected', async () => {
    const input = stringify({ kind: 'List', items: [requestOf(), pod] });
    const { stdout } = await run(['inspect', '-'], { input });
    assert.match(stdout, /^standard input: 2 objects$/m);
    assert.match(stdout, /^PodCertificateRequest default\/req-1: Answer$/m);
    assert.match(stdout, /^Pod default\/web: not inspected\n {2}Reason +this is an object of kind Pod$/m);
  });
});

describe('what `kubespiffe inspect` finds wrong', () => {
  it('inspect names the clauses that a certificate breaks, and ends with 1', async () => {
    const { certificate, privateKey } = stranger;
    const mixed = await judge(leaf.keyPem + certificate);
    assert.deepEqual([mixed.code, mixed.kind], [1, 'CA with its private key']);
    assert.ok(mixed.broken.includes('the private key does not belong to the first certificate'));
    assert.ok(mixed.broken.includes('keyUsage lacks keyCertSign'));
    const swapped = await judge(privateKey + leaf.pem);
    assert.deepEqual(swapped.broken, ['the private key does not belong to the first certificate']);
  });

  /** Strict readers refuse a certificate of version 2. */
  const ofVersion2 = (pem: string): Buffer => {
    const { raw } = new X509Certificate(pem);
    const hex = raw.toString('hex').replace('a003020102', 'a003020101');
    return Buffer.from(hex, 'hex');
  };

  it('inspect shows what it can read of a certificate that is refused, and the reason', async () => {
    const old = ofVersion2(leaf.pem);
    const refusal = 'it is refused: the version is not 3';
    const given = await run(['inspect', '-', '-o', 'json'], { input: leaf.pem });
    const { code, stdout } = await run(['inspect', '-', '-o', 'json'], { input: old });
    assert.equal(code, 1);
    const [sound, refused] = [given, { stdout }].map((each) => JSON.parse(each.stdout).sections[0]);
    const { Fingerprint } = refused.facts;
    // How long it is still valid depends on the moment.
    for (const { facts } of [sound, refused]) facts.Valid = facts.Valid.replace(/ \(ends in .*\)$/, '');
    assert.equal(Fingerprint, `SHA-256 ${new X509Certificate(encodePem('CERTIFICATE', old)).fingerprint256}`);
    assert.deepEqual({ ...sound.facts, Fingerprint }, refused.facts);
    assert.deepEqual(sound.extensions, refused.extensions);
    assert.deepEqual((await judge(old)).broken, [refusal]);

    const oldRoot = ofVersion2(root);
    const chain = await judge(leaf.pem + encodePem('CERTIFICATE', oldRoot));
    assert.deepEqual(chain.broken, ['the next certificate in the chain has not signed it', refusal]);
    const bundle = await judge(root + encodePem('CERTIFICATE', oldRoot));
    assert.deepEqual([bundle.kind, bundle.broken], ['trust bundle', [refusal]]);
    const status = { certificateChain: encodePem('CERTIFICATE', old) };
    assert.deepEqual((await judge(JSON.stringify(requestOf({ status })))).broken, [refusal]);

    const keys = [{ kty: 'EC', use: 'x509-svid', x5c: [oldRoot.toString('base64')] }];
    const json = await run(['inspect', '-', '-o', 'json'], { input: JSON.stringify({ keys }) });
    assert.equal(JSON.parse(json.stdout).sections[1].facts['SPIFFE ID'], 'spiffe://example.org');
    assert.match(json.stdout, /x5c cannot be read: the version is not 3/);
  });

  it('inspect knows a chain and a credential bundle whose leaf is refused, and compares its key', async () => {
    const options = { notBefore: now - 60, notAfter: now + 3600 };
    const top = await makeCa({ ...options, subject: 'CN=root' });
    const intermediate = await makeCa({ ...options, subject: 'CN=intermediate', issuer: top, pathLen: 0 });
    const chain = encodePem('CERTIFICATE', ofVersion2(leaf.pem)) + intermediate.certificate;
    const refusal = 'it is refused: the version is not 3';
    using folder = mkdtempDisposableSync(join(tmpdir(), 'inspect-'));
    const roots = join(folder.path, 'roots.pem');
    writeFileSync(roots, root);
    const unsigned = 'none of the roots has signed it';
    const other = 'the private key does not belong to the first certificate';
    for (const [input, kind, broken] of [
      [chain, 'certificate chain', []],
      [leaf.keyPem + chain, 'credential bundle', []],
      [stranger.privateKey + chain, 'credential bundle', [other]],
    ] as const) {
      assert.deepEqual(await judge(input), { code: 1, kind, conforms: false, broken: [...broken, refusal] });
      const withRoots = await judge(input, '--roots', roots);
      assert.deepEqual(withRoots.broken, [...broken, refusal, unsigned]);
      const { stdout } = await run(['inspect', '-'], { input });
      assert.match(stdout, /^Certificate 2 of 2: intermediate$/m);
    }
    const unreadable = encodePem('CERTIFICATE', Uint8Array.of(0x30, 0));
    assert.equal((await judge(leaf.keyPem + unreadable + root)).kind, 'credential bundle');
    assert.equal((await judge(root + unreadable)).kind, 'trust bundle');
  });

  it('inspect finds a chain that is not signed in order, or ends at another root', async () => {
    const { certificate } = stranger;
    const { code, broken } = await judge(leaf.pem + certificate);
    assert.equal(code, 1);
    assert.ok(broken.includes('the next certificate in the chain has not signed it'));
    const withRoot = await judge(leaf.pem + root);
    assert.equal(withRoot.code, 0, 'a root in the chain is only a SHOULD');
    assert.deepEqual(withRoot.broken, ['the root is in the chain, where verifiers do not need it']);
  });

  it('inspect finds certificates that are out of time, of another trust domain, or repeated', async () => {
    const expired = await makeLeaf({ notBefore: now - 7200, notAfter: now - 60 });
    const old = await judge(expired.pem);
    assert.match(old.broken.join(), /^it expired \d+m(\d+s)? ago$/);
    const foreign = await judge(leaf.pem, '--trust-domain', 'other.example');
    assert.deepEqual(foreign.broken, ['the SPIFFE ID is not of the trust domain other.example']);
    assert.deepEqual((await judge(root + root)).broken, ['it occurs more than once']);
  });

  it('inspect finds an answer to a request that breaks the rules of the API', async () => {
    const late = { beginRefreshAt: new Date((now + 7000) * 1000).toISOString() };
    const wrongTimes = { notAfter: new Date((now + 100) * 1000).toISOString() };
    const conditions = ['Issued', 'Denied'].map((type) => ({
      type,
      status: 'True',
      reason: type,
      lastTransitionTime: new Date(now * 1000).toISOString(),
    }));
    const other = await makeLeaf();
    for (const [changes, says] of [
      [{ status: late }, 'beginRefreshAt is not between notBefore + 10 min and notAfter - 10 min'],
      [{ status: wrongTimes }, 'the times differ from the leaf'],
      [{ status: { conditions } }, 'there are 2 terminal conditions'],
      [{ status: { certificateChain: '' } }, 'there is no certificate chain'],
      [{ status: { certificateChain: other.pem } }, 'the leaf has another key'],
      [{ spec: { maxExpirationSeconds: 3600 } }, 'the lifetime is 2h2m; allowed are 1h to 1h'],
    ] as const) {
      const { code, broken } = await judge(JSON.stringify(requestOf(changes)));
      assert.equal(code, 1, says);
      assert.ok(broken.includes(says), `${says} in ${broken.join('; ')}`);
    }
  });

  it('inspect shows the default ID beside another valid one, and finds nothing wrong with it', async () => {
    const given = JSON.stringify(requestOf({ spec: { serviceAccountName: 'api' } }));
    const { code, broken } = await judge(given);
    assert.deepEqual([code, broken], [0, []]);
    const { stdout } = await run(['inspect', '-'], { input: given });
    assert.match(stdout, /Default name +spiffe:\/\/example\.org\/ns\/default\/sa\/api; a registration can/);
    const byDefault = await run(['inspect', '-'], { input: JSON.stringify(requestOf()) });
    assert.doesNotMatch(byDefault.stdout, /Default name/);
  });

  it('inspect finds what is wrong in bundles', async () => {
    const x5c = root.split('\n').slice(1, -2).join('');
    const bundle = {
      keys: [
        { kty: 'EC', use: 'x509-svid', kid: 'a', x5c: [x5c, x5c] },
        { kty: 'EC', use: 'jwt-svid' },
        { kty: 'EC', use: 'X509-SVID' },
        { use: 'x509-svid' },
      ],
    };
    const { code, broken } = await judge(JSON.stringify(bundle));
    assert.equal(code, 1);
    for (const says of [
      'spiffe_sequence is missing',
      'kid is present',
      'x5c has 2 elements',
      'kid is missing',
      'kty is missing',
      'use is "X509-SVID", so the key is ignored',
    ]) {
      assert.ok(broken.includes(says), `${says} in ${broken.join('; ')}`);
    }
    const misnamed = {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'ClusterTrustBundle',
      metadata: { name: 'roots' },
      spec: { signerName: 'kubespiffe.io/spiffe', trustBundle: root },
    };
    const named = await judge(JSON.stringify(misnamed));
    assert.deepEqual(named.broken, ['the name does not fit kubespiffe.io:spiffe:']);
  });

  it('inspect finds what is wrong in a pool, and shows none of its keys', async () => {
    const broken = { ...pool, authorities: [{ ...record, state: 'resting' }] };
    const { code, broken: findings } = await judge(JSON.stringify(broken));
    assert.equal(code, 1);
    assert.match(findings.join(), /pool\.authorities\[0\]\.state: the state "resting" is not known/);
  });

  it('inspect reports which of two files is wrong', async () => {
    const { code, stderr } = await run(['inspect', '-', '--roots', '/dev/null'], { input: root });
    assert.notEqual(code, 0);
    assert.match(stderr, /^error: \/dev\/null: .*\nhint: /);
  });

  for (const [name, input, says] of [
    ['nothing', '', /standard input: there is nothing in it/],
    ['a text of another kind', 'hello', /neither PEM nor DER/],
    ['a token', 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln\n', /a token\nhint: .*token --decode/],
    ['PEM that is cut off', root.slice(0, 100), /has no END line/],
    ['a certificate with a byte changed', root.replace(/MII/, 'MIJ'), /cannot be read/],
    ['JSON that is cut off', `{"keys": [${leaf.keyPem}`, /not valid JSON or YAML \(line \d+, column \d+\)/],
    ['an empty List', '{"kind": "List", "items": []}', /there is no object in it/],
    [
      'a List of other kinds alone',
      stringify({ kind: 'List', items: [{ kind: 'Pod' }, { kind: 'Node' }] }),
      /an object of kind Pod/,
    ],
    ['a public key', '-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n', /holds no certificate/],
  ] as const) {
    it(`inspect refuses ${name} with an error, a hint and no content`, async () => {
      const { code, stdout, stderr } = await run(['inspect', '-'], { input });
      assert.notEqual(code, 0);
      assert.equal(stdout, '');
      assert.match(stderr, says);
      assert.match(stderr, /^error: .*\n(hint: .*\n)?$/);
    });
  }
});
