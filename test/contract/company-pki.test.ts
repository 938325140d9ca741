import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import type { ClusterTrustBundle, Secret } from '../../signer/kube/types.ts';
import { decodePem, encodePem } from '../../spiffe/pki/pem.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { type Ran, run } from '../tools/run.ts';
import { grantByPage, prepareByPage } from './company-pki/commands.ts';
import { installSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

const trustDomain = 'example.org';
const rotationRole = join(import.meta.dirname, '../../manifests/rotation/rbac.yaml');

/** Each test goes on where the one before ended. */
describe('a pool below other CAs, beside a running signer', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;
  let kubeconfig = '';
  let judges: Judges;
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-pki-'));
  const file = (name: string) => join(folder, name);

  const ca = (...args: string[]): Promise<Ran> =>
    run(['ca', ...args, '--kubeconfig', controlPlane.kubeconfig]);
  const offline = async (...args: string[]): Promise<Ran> => {
    const ran = await run(['ca', ...args]);
    assert.equal(ran.code, 0, ran.stderr);
    return ran;
  };
  async function done(...args: string[]): Promise<Ran> {
    const ran = await ca(...args);
    assert.equal(ran.code, 0, ran.stderr);
    return ran;
  }

  before(async () => {
    [controlPlane, judges] = await Promise.all([startControlPlane(), openJudges()]);
    kubeconfig = await installSigner(controlPlane);
    await done('create', '--ca-id', 'ca-1', '--trust-domain', trustDomain);
    signer = await startSigner({ kubeconfig, flags: ['--root-propagation-delay', '3s'] });
    await signer.ready();
    await offline(
      'root',
      '--trust-domain',
      trustDomain,
      '--cert',
      file('root.pem'),
      '--key',
      file('root.key'),
    );
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function pool(): Promise<PoolDocument> {
    const path = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
    const read = readPoolDocument(poolJsonIn((await controlPlane.request('GET', path)).body as Secret) ?? '');
    assert.ok(read.ok);
    return read.document;
  }
  const recordOf = async (id: string) => (await pool()).authorities.find((each) => each.id === id);

  async function roots(): Promise<string[]> {
    const path = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
    const { spec } = (await controlPlane.request('GET', path)).body as ClusterTrustBundle;
    const blocks = decodePem(spec.trustBundle);
    assert.ok(blocks.ok);
    return blocks.value.map(({ der }) => encodePem('CERTIFICATE', der));
  }

  /** A chain for a new pod, PEM: leaf first. */
  async function issue(): Promise<string[]> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const { certificateChain = '' } = await answerTo(controlPlane, request);
    const blocks = decodePem(certificateChain);
    assert.ok(blocks.ok);
    return blocks.value.map(({ der }) => encodePem('CERTIFICATE', der));
  }

  /** OpenSSL in its strict mode, and go-spiffe. */
  async function assertVerified(chain: readonly string[], bundle: readonly string[]): Promise<void> {
    const [leaf = '', ...others] = chain;
    writeFileSync(file('leaf.pem'), leaf);
    writeFileSync(file('chain.pem'), others.join(''));
    writeFileSync(file('bundle.pem'), bundle.join(''));
    const untrusted = others.length > 0 ? ['-untrusted', file('chain.pem')] : [];
    const words = ['verify', '-x509_strict', '-CAfile', file('bundle.pem'), ...untrusted, file('leaf.pem')];
    assert.match(execFileSync('openssl', words, { encoding: 'utf8' }), /leaf\.pem: OK/);
    const go = await judges.x509Svid({ chain: chain.join(''), bundles: { [trustDomain]: bundle.join('') } });
    assert.deepEqual(go.errors, []);
    assert.equal(go.facts.id, `spiffe://${trustDomain}/ns/default/sa/default`);
  }

  const issuerOf = ([leaf = '']: readonly string[]) => new X509Certificate(leaf).issuer;
  const subjectOf = (pem = '') => new X509Certificate(pem).subject;

  it('ca root makes an offline root in two files, with a key that only its owner can read', async () => {
    assert.equal(statSync(file('root.key')).mode & 0o777, 0o600);
    const text = execFileSync('openssl', ['x509', '-in', file('root.pem'), '-noout', '-text'], {
      encoding: 'utf8',
    });
    assert.match(text, /CA:TRUE, pathlen:1/);
    const again = await run([
      'ca',
      'root',
      '--trust-domain',
      trustDomain,
      '--cert',
      file('root.pem'),
      '--key',
      file('root.key'),
    ]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /root\.key exists already/);
  });

  it('ca csr makes a key in the pool, and prints the same request until it is answered', async () => {
    const first = await done('csr');
    assert.match(first.stderr, /ca-2: new -> prepared, waits for its certificate/);
    writeFileSync(file('issuing.csr'), first.stdout);
    const words = ['req', '-in', file('issuing.csr'), '-verify', '-noout', '-text'];
    assert.match(
      execFileSync('openssl', words, { encoding: 'utf8' }),
      /CA:TRUE, pathlen:0[\s\S]*URI:spiffe:\/\/example\.org/,
    );
    assert.equal((await done('csr')).stdout, first.stdout);
    assert.match((await done('show')).stdout, /waits for its certificate; have the request/);
    assert.match((await ca('rotate')).stderr, /ca-2 waits for its certificate\nhint: .*--request ca-2/);
    // It changes nothing for those who get certificates.
    assert.match(issuerOf(await issue()), /ca-1/);
    assert.equal((await roots()).length, 1);
  });

  it('ca import refuses an answer that does not fit, and the pool stays unchanged', async () => {
    const before = await pool();
    for (const [cert, message] of [
      [file('root.pem'), /belongs to no certificate/],
      [file('issuing.csr'), /holds no certificate/],
    ] as const) {
      const ran = await ca('import', '--request', 'ca-2', '--cert', cert);
      assert.equal(ran.code, 1);
      assert.match(ran.stderr, message);
    }
    assert.deepEqual(await pool(), before);
  });

  it('a CA by ca sign and ca import signs after the delay, its root is published, and leaves have the chain', async () => {
    const signed = await offline(
      ...[
        'sign',
        file('issuing.csr'),
        '--cert',
        file('root.pem'),
        '--key',
        file('root.key'),
        '--lifetime',
        '4380h',
      ],
    );
    writeFileSync(file('issuing.pem'), signed.stdout);
    const imported = await done('import', '--request', 'ca-2', '--cert', file('issuing.pem'));
    assert.match(imported.stdout, /secret\/kubespiffe-pool changed/);
    assert.equal((await recordOf('ca-2'))?.request, undefined);
    await done('rotate', '--wait', '--propagation-delay', '3s', '--max-lifetime', '24h');
    const chain = await waitFor('a chain of two', async () => {
      const issued = await issue();
      return issued.length === 2 && issued;
    });
    const root = readFileSync(file('root.pem'), 'utf8');
    const published = await roots();
    assert.ok(published.includes(root));
    assert.deepEqual(
      published.map((pem) => new X509Certificate(pem)).filter((each) => !each.checkIssued(each)),
      [],
    );
    await assertVerified(chain, [root]);
    await assertVerified(chain, published);
  });

  it('the next CA below the same root signs at once', async () => {
    await done('csr', '--name-constraints');
    writeFileSync(file('next.csr'), (await done('csr')).stdout);
    const signed = await offline(
      ...[
        'sign',
        file('next.csr'),
        '--cert',
        file('root.pem'),
        '--key',
        file('root.key'),
        '--name-constraints',
      ],
    );
    writeFileSync(file('next.pem'), signed.stdout);
    await done('import', '--request', 'ca-3', '--cert', file('next.pem'));
    await done('trust', 'ca-3');
    assert.equal((await recordOf('ca-3'))?.publishedAt, (await recordOf('ca-2'))?.publishedAt);
    await done('activate', 'ca-3', '--propagation-delay', '3s');
    const [intermediate] = (await recordOf('ca-3'))?.intermediates ?? [];
    const chain = await waitFor('a certificate of the next CA', async () => {
      const issued = await issue();
      return issuerOf(issued) === subjectOf(intermediate) && issued;
    });
    await assertVerified(chain, [readFileSync(file('root.pem'), 'utf8')]);
    const retired = await done('retire', 'ca-2');
    assert.doesNotMatch(retired.stderr, /warning/);
  });

  it('ca doctor names what is wrong with a broken pool, and repairs it when asked to', async () => {
    const { authorities, ...rest } = await pool();
    const broken = authorities.map((each) => {
      if (each.id === 'ca-2') return { ...each, id: 'ca-1' };
      if (each.id !== 'ca-3') return each;
      const { tainted, ...others } = each;
      return { ...others, taintd: tainted };
    });
    const json = JSON.stringify({ ...rest, authorities: broken });
    const path = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
    const put = async (text: string) => {
      const data = { 'pool.json': Buffer.from(text).toString('base64') };
      const headers = { 'content-type': 'application/merge-patch+json' };
      assert.equal((await controlPlane.request('PATCH', path, { data }, { headers })).status, 200);
    };
    await put(json);
    const found = await ca('doctor');
    assert.equal(found.code, 1);
    assert.match(
      found.stdout,
      /problem: pool\.authorities\[\d\]\.taintd: is not a field of a pool\n {2}repair: rename taintd of authority ca-3 to tainted/,
    );
    assert.match(found.stdout, /repair: name the second ca-1 ca-1-2/);
    assert.match(found.stdout, /run `kubespiffe ca doctor --repair`/);
    const still = (await controlPlane.request('GET', path)).body as Secret;
    assert.equal(poolJsonIn(still), json);
    const repaired = await done('doctor', '--repair');
    assert.match(repaired.stdout, /secret\/kubespiffe-pool repaired in namespace kubespiffe/);
    assert.match((await done('doctor')).stdout, /ok: the pool can sign/);
    await assertVerified(await issue(), [readFileSync(file('root.pem'), 'utf8')]);
    // The tests below go on with the ids as they were.
    await put(JSON.stringify(await pool()).replace('"ca-1-2"', '"ca-2"'));
  });

  describe('an issuer of cert-manager, simulated by this test', () => {
    const collection = '/apis/cert-manager.io/v1/namespaces/kubespiffe/certificaterequests';
    const prepare = (...more: string[]) =>
      ca('prepare', '--upstream', 'cert-manager:Issuer/company', '--lifetime', '2160h', ...more);

    before(() => controlPlane.kubectl(['apply', '-f', '-'], { input: certificateRequests }));

    async function requests(): Promise<CertificateRequest[]> {
      return ((await controlPlane.request('GET', collection)).body as { items: CertificateRequest[] }).items;
    }

    const openRequest = () =>
      waitFor('a CertificateRequest', async () =>
        (await requests()).find(({ status }) => !status?.certificate),
      );

    async function setStatus({ metadata }: CertificateRequest, status: object): Promise<void> {
      const path = `${collection}/${metadata.name}/status`;
      const headers = { 'content-type': 'application/merge-patch+json' };
      const { status: code } = await controlPlane.request('PATCH', path, { status }, { headers });
      assert.equal(code, 200);
    }

    async function answerOf(
      { spec }: CertificateRequest,
      root = 'root',
      lifetime = '2160h',
    ): Promise<object> {
      writeFileSync(file('asked.csr'), Buffer.from(spec.request, 'base64'));
      const { stdout } = await offline(
        ...[
          'sign',
          file('asked.csr'),
          '--cert',
          file(`${root}.pem`),
          '--key',
          file(`${root}.key`),
          '--lifetime',
          lifetime,
        ],
      );
      const [certificate = ''] = stdout.split(/(?<=-----END CERTIFICATE-----\n)/);
      const base64 = (pem: string) => Buffer.from(pem).toString('base64');
      return { certificate: base64(certificate), ca: base64(readFileSync(file(`${root}.pem`), 'utf8')) };
    }

    it('ca prepare asks cert-manager once, continues after an interruption, and takes the answer', async () => {
      const given = await prepare('--timeout', '0s');
      assert.equal(given.code, 1);
      assert.match(given.stderr, /waits for approval[\s\S]*run the same command again later/);
      const request = await openRequest();
      const { isCA, usages, issuerRef, duration } = request.spec;
      assert.deepEqual(
        { isCA, usages, issuerRef, duration },
        {
          ...{ isCA: true, usages: ['cert sign', 'crl sign'], duration: '7776000s' },
          issuerRef: { name: 'company', kind: 'Issuer', group: 'cert-manager.io' },
        },
      );
      const [ran] = await Promise.all([
        prepare(),
        answerOf(request).then((answer) => setStatus(request, answer)),
      ]);
      assert.equal(ran.code, 0, ran.stderr);
      assert.equal((await requests()).length, 1);
      const record = await recordOf('ca-4');
      assert.equal(record?.request, undefined);
      assert.equal(record?.certificate, readFileSync(file('root.pem'), 'utf8'));
      await done('trust', 'ca-4');
      await done('activate', 'ca-4', '--propagation-delay', '3s');
      const chain = await waitFor('a certificate of it', async () => {
        const issued = await issue();
        return issuerOf(issued) === subjectOf(record?.intermediates?.[0]) && issued;
      });
      await assertVerified(chain, [readFileSync(file('root.pem'), 'utf8')]);
    });

    it('ca prepare refuses an answer below a foreign root, and a request that was denied', async () => {
      await offline(
        'root',
        '--trust-domain',
        trustDomain,
        '--cert',
        file('evil.pem'),
        '--key',
        file('evil.key'),
      );
      await prepare('--timeout', '0s');
      const request = await openRequest();
      await setStatus(request, await answerOf(request, 'evil'));
      const before = await pool();
      const foreign = await prepare();
      assert.equal(foreign.code, 1);
      assert.match(foreign.stderr, /leads to a root that the pool does not have, SHA-256 [0-9a-f]{64}/);
      assert.deepEqual(await pool(), before);
      await done('remove', 'ca-5');
      await prepare('--timeout', '0s');
      const conditions = [{ type: 'Denied', status: 'True', reason: 'policy', message: 'no CA for you' }];
      await setStatus(await openRequest(), { conditions });
      const denied = await prepare();
      assert.match(denied.stderr, /was refused: policy: no CA for you\nhint: .*ca remove/);
      await done('remove', 'ca-5');
    });

    it('ca prepare asks cert-manager and Vault with the commands of the page', async () => {
      const commands = prepareByPage({ controlPlane, folder });
      const play = async () => {
        const request = await waitFor('the CertificateRequest', async () =>
          (await requests()).find(({ spec }) => spec.duration === '15768000s'),
        );
        await setStatus(request, await answerOf(request, 'root', '4380h'));
      };
      await Promise.all([commands, play()]);
      for (const id of ['ca-5', 'ca-6']) {
        assert.equal((await recordOf(id))?.certificate, readFileSync(file('root.pem'), 'utf8'), id);
        await done('remove', id);
      }
    });

    it('signers ask cert-manager for the next CA by themselves, and sign with it', async () => {
      await controlPlane.kubectl(['apply', '-f', rotationRole]);
      await grantByPage({ controlPlane, folder });
      const earlier = new Set((await requests()).map(({ metadata }) => metadata.name));
      await signer.child.stop();
      signer = await startSigner({
        kubeconfig,
        flags: [
          ...['--root-propagation-delay', '3s', '--max-lifetime', '1h', '--rotation', 'automatic'],
          ...['--ca-issuer', 'Issuer/company', '--ca-activate-after', '20s', '--ca-lifetime', '30h'],
        ],
      });
      const request = await waitFor('a CertificateRequest of the signer', async () =>
        (await requests()).find(({ metadata }) => !earlier.has(metadata.name)),
      );
      assert.equal(request.spec.duration, '108000s');
      await setStatus(request, await answerOf(request, 'root', '30h'));
      const next = await waitFor(
        'the next CA to sign',
        async () => {
          const active = (await pool()).authorities.find(
            ({ kind, state }) => kind === 'X509' && state === 'active',
          );
          return active?.id === 'ca-5' && active;
        },
        { timeoutMs: 90_000 },
      );
      const chain = await waitFor('a certificate of it', async () => {
        const issued = await issue();
        return issuerOf(issued) === subjectOf(next.intermediates?.[0]) && issued;
      });
      await assertVerified(chain, [readFileSync(file('root.pem'), 'utf8')]);
    });
  });
});

interface CertificateRequest {
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<'request', string> & Record<string, unknown>>;
  readonly status?: { readonly certificate?: string };
}

/** The fields of cert-manager.io/v1 that are written and read here, in a definition of our own. */
const certificateRequests = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: certificaterequests.cert-manager.io }
spec:
  group: cert-manager.io
  scope: Namespaced
  names: { kind: CertificateRequest, listKind: CertificateRequestList, plural: certificaterequests, singular: certificaterequest }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [issuerRef, request]
            properties:
              request: { type: string, format: byte }
              isCA: { type: boolean }
              duration: { type: string }
              usages: { type: array, items: { type: string } }
              issuerRef:
                type: object
                required: [name]
                properties: { name: { type: string }, kind: { type: string }, group: { type: string } }
          status:
            type: object
            properties:
              certificate: { type: string, format: byte }
              ca: { type: string, format: byte }
              conditions:
                type: array
                items:
                  type: object
                  required: [type, status]
                  properties:
                    type: { type: string }
                    status: { type: string }
                    reason: { type: string }
                    message: { type: string }
`;
