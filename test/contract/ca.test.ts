import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { createAuthority } from '../../signer/authority/create.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { parsePool } from '../../signer/authority/pool.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import type { ClusterTrustBundle, Secret } from '../../signer/kube/types.ts';
import { bundleLabels } from '../../signer/trust/labels.ts';
import { jwksDocument, rootsPem, spiffeBundleDocument } from '../../signer/trust/published-documents.ts';
import { makeCa } from '../authority/authorities.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startFaultProxy } from '../cluster/fault-proxy.ts';
import { waitFor } from '../cluster/process.ts';
import { type Ran, run } from '../tools/run.ts';
import { createDeployment, installSigner } from './installation.ts';
import { startSigner } from './signer-process.ts';
import { answerTo, createPod, requestFor } from './workloads.ts';

const namespace = 'pools';
const now = Math.floor(Date.now() / 1000);
const validity = { notBefore: now - 3600, notAfter: now + 30 * 86_400 };

/**
 * The rights of the Role kubespiffe-ca-operator, parted in two: those who make and show, and those who change. That the
 * role itself is enough is shown in test/manifests/operator-role.test.ts; here pools have many names.
 */
const operatorRole = `
apiVersion: v1
kind: Namespace
metadata: { name: ${namespace} }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: operator, namespace: ${namespace} }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: keeper, namespace: ${namespace} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: key-keeper, namespace: ${namespace} }
rules:
- apiGroups: ['']
  resources: [secrets]
  verbs: [get, update]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: key-keeper, namespace: ${namespace} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: key-keeper }
subjects:
- { kind: ServiceAccount, name: keeper, namespace: ${namespace} }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: nobody, namespace: ${namespace} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: ca-operator, namespace: ${namespace} }
rules:
- apiGroups: ['']
  resources: [secrets]
  verbs: [create, get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: ca-operator, namespace: ${namespace} }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: ca-operator }
subjects:
- { kind: ServiceAccount, name: operator, namespace: ${namespace} }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: installer, namespace: ${namespace} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: installer }
rules:
- apiGroups: ['']
  resources: [secrets]
  verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: installer }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: installer }
subjects:
- { kind: ServiceAccount, name: installer, namespace: ${namespace} }
`;

const base = path.join(import.meta.dirname, '../../manifests/base');

/** The `ca` verbs against a real API server, with the documented permissions. */
describe('`kubespiffe ca` and `inspect pcr` on a cluster', () => {
  let controlPlane: ControlPlane;
  let operator = '';
  let keeper = '';
  let nobody = '';
  let viewer = '';
  let dir = '';

  /** A ServiceAccount with a role of manifests/base that is bound in a namespace, as its comment says. */
  async function accountWith(role: string, file: string, bound: string): Promise<string> {
    await controlPlane.kubectl(['apply', '-f', path.join(base, file)]);
    await controlPlane.kubectl(['create', 'serviceaccount', role, '--namespace', namespace]);
    const kind = file.startsWith('operator') ? 'role' : 'clusterrole';
    await controlPlane.kubectl([
      ...['create', 'rolebinding', role, '--namespace', bound, `--${kind}`, role],
      ...['--serviceaccount', `${namespace}:${role}`],
    ]);
    return controlPlane.kubeconfigFor({ namespace, name: role });
  }

  before(async () => {
    dir = mkdtempSync(path.join(tmpdir(), 'kubespiffe-ca-'));
    controlPlane = await startControlPlane();
    await controlPlane.kubectl(['apply', '-f', '-'], { input: operatorRole });
    operator = await controlPlane.kubeconfigFor({ namespace, name: 'operator' });
    keeper = await controlPlane.kubeconfigFor({ namespace, name: 'keeper' });
    nobody = await controlPlane.kubeconfigFor({ namespace, name: 'nobody' });
    viewer = await accountWith('kubespiffe-request-viewer', 'request-viewer-role.yaml', 'default');
  });
  after(async () => {
    rmSync(dir, { recursive: true, force: true });
    await controlPlane?.stop();
  });

  const ca = (verb: string, name: string, ...more: string[]): Promise<Ran> =>
    run(['ca', verb, '-n', namespace, '--name', name, '--kubeconfig', operator, ...more]);
  const wishes = ['--ca-id', 'ca-1', '--trust-domain', 'example.org'];

  function sequenceOf(secret: Secret): number {
    const parsed = parsePool(secret, { trustDomain: 'example.org', now });
    return parsed.pool?.sequence ?? assert.fail('it is no pool');
  }

  async function stored(name: string): Promise<Secret> {
    const { status, body } = await controlPlane.request(
      'GET',
      `/api/v1/namespaces/${namespace}/secrets/${name}`,
    );
    assert.equal(status, 200);
    return body as Secret;
  }

  function file(name: string, text: string): string {
    const where = path.join(dir, name);
    writeFileSync(where, text);
    return where;
  }

  it('ca create makes a pool of the signer service-dns: no trust domain, no JWT keys, DNS names limited', async () => {
    const createDns = (...more: string[]) =>
      run(['ca', 'create', '-n', namespace, '--kubeconfig', operator, '--kind', 'service-dns', ...more]);
    const wrong = await createDns('--ca-id', 'dns-1', '--trust-domain', 'example.org');
    assert.match(wrong.stderr, /^error: --trust-domain cannot be used with --kind service-dns/);
    const created = await createDns('--ca-id', 'dns-1', '--permitted-dns', 'svc,svc.cluster.local');
    assert.equal(created.code, 0, created.stderr);
    assert.match(created.stdout, /^secret\/kubespiffe-service-dns-pool created in namespace pools\n/);
    const pool = parsePool(await stored('kubespiffe-service-dns-pool'), { trustDomain: undefined, now });
    assert.ok(pool.ok, pool.ok ? '' : pool.problem.message);
    assert.equal(pool.pool.jwt.length, 0);
    const shown = await ca('show', 'kubespiffe-service-dns-pool');
    assert.equal(shown.code, 0, shown.stdout);
    assert.match(shown.stdout, /^Trust domain: {3}\(none\)$/m);
    assert.doesNotMatch(shown.stdout, /warning/);

    const name = 'kubespiffe-service-dns-pool';
    const of = (kubeconfig: string, ...words: string[]) =>
      run([...words, '-n', namespace, '--name', name, '--kubeconfig', kubeconfig]);
    assert.match(
      (await of(operator, 'bundle', 'show', '--format', 'pem')).stdout,
      /^-----BEGIN CERTIFICATE-----/,
    );
    assert.match(
      (await of(operator, 'bundle', 'show')).stderr,
      /no trust domain has no spiffe bundle\nhint: .*pem/,
    );
    assert.match((await of(keeper, 'ca', 'add-jwt-key')).stderr, /^error: the pool has no trust domain/);
    const copy = await stored(name);
    const deleted = `/api/v1/namespaces/${namespace}/secrets/${name}`;
    assert.equal((await controlPlane.request('DELETE', deleted)).status, 200);
    const restored = await of(operator, 'ca', 'restore', '--from', file('dns.yaml', stringify(copy)));
    assert.equal(restored.code, 0, restored.stderr);
    assert.equal((await of(operator, 'ca', 'show')).code, 0);
  });

  it('ca create makes a pool that the signer can use, and ca show prints it', async () => {
    const created = await ca('create', 'new', ...wishes);
    assert.equal(created.code, 0, created.stderr);
    assert.match(
      created.stdout,
      /^secret\/new created in namespace pools\nauthority ca-1: active, ECDSA P-256, until /,
    );

    const secret = await stored('new');
    assert.equal(secret.type, 'kubespiffe.io/authority-pool');
    assert.equal(secret.metadata.labels?.['app.kubernetes.io/managed-by'], 'kubespiffe');
    const parsed = parsePool(secret, { trustDomain: 'example.org', now });
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.problem.message);

    const shown = await ca('show', 'new');
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /ca-1 +X509 +active +ECDSA P-256 +yes +36[45]d/);
    assert.match(shown.stdout, /jwt-es256-1 +JWT-ES256 +active +ECDSA P-256 +yes +- /);
    const kid = parsed.pool.activeJwt('ES256')?.kid ?? '';
    assert.ok(created.stdout.includes(`for ES256 tokens, kid ${kid}\n`));
    assert.ok(shown.stdout.includes(`  Key ID        ${kid}\n`));
    const report = JSON.parse((await ca('show', 'new', '-o', 'json')).stdout);
    assert.equal(report.canSign, true);
    assert.deepEqual(report.problems, []);
    assert.equal(report.authorities[0].root.sha256, parsed.pool.active?.root.sha256Hex);
    assert.equal(report.authorities[0].root.spiffeId, 'spiffe://example.org');
    assert.equal(report.authorities[1].kid, kid);
    assert.equal(report.authorities[1].signsFrom, parsed.pool.jwt[0]?.publishedAt);
    assert.match((await ca('show', 'new', '-o', 'yaml')).stdout, /^canSign: true$/m);
  });

  it('ca show prints what a pool publishes, as other tools read it', async () => {
    await ca('create', 'published', ...wishes);
    const show = (...more: string[]) =>
      run(['bundle', 'show', '-n', namespace, '--name', 'published', '--kubeconfig', operator, ...more]);
    const parsed = parsePool(await stored('published'), { trustDomain: 'example.org', now });
    assert.ok(parsed.ok);
    const { pool } = parsed;

    const bundle = await show('--refresh-hint', '1m');
    assert.equal(bundle.code, 0, bundle.stderr);
    assert.equal(bundle.stdout, spiffeBundleDocument(pool, 60)?.bytes.toString());
    assert.equal((await run(['bundle', 'verify', '-'], { input: bundle.stdout })).code, 0);
    assert.equal((await show('--format', 'jwks')).stdout, jwksDocument(pool).bytes.toString());
    assert.equal((await show('--format', 'pem')).stdout, rootsPem(pool)?.bytes.toString());

    const missing = await run(['bundle', 'show', '-n', namespace, '--name', 'no', '--kubeconfig', operator]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^error: there is no Secret pools\/no\nhint: .*ca create/);
  });

  it('ca add-jwt-key adds a key to an existing pool, and raises its sequence in the same write', async () => {
    await ca('create', 'older', ...wishes, '--jwt-keys', 'none');
    const before = await stored('older');
    const add = (...more: string[]) =>
      run(['ca', 'add-jwt-key', '-n', namespace, '--name', 'older', '--kubeconfig', keeper, ...more]);
    const added = await add('--type', 'rs256');
    assert.equal(added.code, 0, added.stderr);
    assert.match(
      added.stdout,
      /^secret\/older changed in namespace pools, sequence \d+\nauthority jwt-rs256-1: active, for RS256 /,
    );
    const after = await stored('older');
    assert.deepEqual([after.type, after.metadata.labels], [before.type, before.metadata.labels]);
    const parsed = parsePool(after, { trustDomain: 'example.org', now });
    assert.ok(parsed.ok);
    assert.equal(parsed.pool.sequence, sequenceOf(before) + 1);
    assert.ok(added.stdout.includes(parsed.pool.activeJwt('RS256')?.kid ?? '?'));
    assert.match((await ca('show', 'older')).stdout, /jwt-rs256-1 +JWT-RS256 +active +RSA 2048 +no /);
    assert.match((await add('--type', 'rs256')).stdout, /jwt-rs256-2: trusted/);

    const lacksRs256 = /warning: the discovery document lists no RS256.*add-jwt-key --type rs256/;
    assert.doesNotMatch((await ca('show', 'older')).stdout, lacksRs256);
    await ca('create', 'es256', ...wishes, '--jwt-keys', 'es256');
    assert.match((await ca('show', 'es256')).stdout, lacksRs256);

    const refused = await run([
      'ca',
      'add-jwt-key',
      '-n',
      namespace,
      '--name',
      'older',
      '--kubeconfig',
      operator,
    ]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /cannot update resource "secrets"/);
  });

  it('ca add-jwt-key dates a key by the clock of the API server, and not by that of this machine', async () => {
    await using proxy = await startFaultProxy({
      url: controlPlane.url,
      authority: controlPlane.authority.certificate,
    });
    proxy.shiftClock(1_200_000);
    const through = await controlPlane.kubeconfigFor(
      { namespace, name: 'keeper' },
      { server: proxy.url, authority: proxy.authority },
    );
    await ca('create', 'dated', ...wishes, '--jwt-keys', 'es256');
    const name = ['-n', namespace, '--name', 'dated', '--kubeconfig', through];
    const added = await run(['ca', 'add-jwt-key', ...name, '--type', 'rs256']);
    assert.equal(added.code, 0, added.stderr);
    const parsed = parsePool(await stored('dated'), { trustDomain: 'example.org', now });
    assert.ok(parsed.ok);
    const publishedAt = Date.parse(parsed.pool.activeJwt('RS256')?.publishedAt ?? '');
    assert.ok(Math.abs(publishedAt - Date.now() - 1_200_000) < 30_000, String(publishedAt));
  });

  describe('ca restore of a copy over a pool', () => {
    const path = `/api/v1/namespaces/${namespace}/secrets/restored`;
    let copy: Secret;
    let document: PoolDocument;
    let first: AuthorityRecord;
    async function put(data: Record<string, string>): Promise<void> {
      const metadata = { ...copy.metadata, resourceVersion: undefined };
      const { status } = await controlPlane.request('PUT', path, { ...copy, metadata, data });
      assert.equal(status, 200);
    }
    async function restore(input: string, ...more: string[]) {
      const name = ['-n', namespace, '--name', 'restored', '--from', '-', '--kubeconfig', keeper];
      const result = await run(['ca', 'restore', ...name, ...more], { input });
      assert.doesNotMatch(result.stdout + result.stderr, /PRIVATE KEY/);
      return result;
    }
    const restored = async () =>
      parsePool(await stored('restored'), { trustDomain: 'example.org', now }).pool ??
      assert.fail('it is a pool');

    before(async () => {
      await ca('create', 'restored', ...wishes);
      copy = await stored('restored');
      document = JSON.parse(Buffer.from(copy.data?.['pool.json'] ?? '', 'base64').toString());
      first = document.authorities[0] ?? assert.fail('it has an authority');
    });

    it('a copy is restored with a sequence above all before, and every taint stays', async () => {
      const tainted = document.authorities.map((each) => ({ ...each, tainted: each === first }));
      await put(serializePool({ ...document, sequence: document.sequence + 6, authorities: tainted }));
      const fromYaml = await restore(stringify(copy), '--allow-unusable');
      assert.equal(fromYaml.code, 0, fromYaml.stderr);
      const said = new RegExp(
        `^secret/restored restored in namespace pools, sequence \\d+ \\(the copy had ${document.sequence}\\)$`,
        'm',
      );
      assert.match(fromYaml.stdout, said);
      assert.ok((await restored()).sequence > document.sequence + 6);
      assert.match(fromYaml.stderr, /^warning: authority ca-1 was tainted .* stays so$/m);
      assert.ok((await restored()).authorities[0]?.tainted);

      const more = ['--published-sequence', '4000000000', '--allow-unusable'];
      const fromJson = await restore(JSON.stringify(document), ...more);
      assert.match(fromJson.stdout, /sequence 4000000001/);
    });

    it('a restored copy loses no authority that only the pool has, unless that is asked for', async () => {
      const authorities = document.authorities.map((each) => ({ ...each, state: 'retiring' as const }));
      const next = await createAuthority({ id: 'ca-2', trustDomain: 'example.org', now });
      await put(serializePool({ ...document, sequence: 2, authorities: [...authorities, next] }));

      const other = await restore(stringify(copy), '--drop-authority', 'none');
      assert.equal(other.code, 1);
      assert.match(other.stderr, /^error: the pool has no authority none\nhint: name one of ca-1, .*ca-2/);
      const before = await stored('restored');
      const dry = await restore(stringify(copy), '--dry-run');
      assert.match(
        dry.stdout,
        /^secret\/restored restored in namespace pools \(server dry run\), sequence \d+ /,
      );
      assert.deepEqual(await stored('restored'), before);
      const kept = await restore(stringify(copy));
      assert.equal(dry.stderr, kept.stderr);
      assert.match(kept.stderr, /^warning: authority ca-2 is kept from the current pool, retiring: /m);
      const both = await restored();
      assert.equal(both.active?.id, 'ca-1');
      assert.equal(both.roots.length, 2);

      const early = await restore(stringify(copy), '--drop-authority', 'ca-2', '--max-lifetime', '24h');
      assert.equal(early.code, 1);
      assert.match(
        early.stderr,
        /^error: authority ca-2 may have signed certificates that are valid until 20/,
      );
      assert.match(early.stderr, /\nhint: .*--max-lifetime.*--force-drop/);
      const dropped = await restore(stringify(copy), '--drop-authority', 'ca-2', '--force-drop');
      assert.match(dropped.stderr, /^warning: authority ca-2 may have signed .* become invalid at once$/m);
      assert.match(dropped.stderr, /^warning: authority ca-2 is dropped, as was asked for$/m);
      assert.equal((await restored()).roots.length, 1);
      const { authorities: all } = await restored();
      const last = all.find(({ id }) => id === 'ca-2');
      assert.deepEqual([last?.state, last?.signingAuthority], ['retired', undefined]);
    });

    it('a restored copy does not drop the authority that signs, unless that is forced', async () => {
      const before = await stored('restored');
      const refused = await restore(stringify(copy), '--drop-authority', 'ca-1');
      assert.equal(refused.code, 1);
      assert.match(
        refused.stderr,
        /^error: authority ca-1 is active: every certificate .* invalid.*\nhint: .*--force-drop/,
      );
      const forced = await restore(stringify(copy), '--drop-authority', 'ca-1', '--force-drop');
      assert.equal(forced.code, 1);
      assert.match(
        forced.stderr,
        /^error: pool\.authorities: no X509 authority is active\nhint: .*--allow-unusable/,
      );
      assert.deepEqual(await stored('restored'), before);
    });

    it('a copy that cannot sign is restored only with an option', async () => {
      const ended = await createAuthority({
        id: 'ended',
        trustDomain: 'example.org',
        now: now - 48 * 3600,
        lifetimeSeconds: 86_400,
      });
      const ending = await createAuthority({
        id: 'ending',
        trustDomain: 'example.org',
        now: now - 23.5 * 3600,
        lifetimeSeconds: 86_400,
      });
      const later = await createAuthority({ id: 'later', trustDomain: 'example.org', now: now + 7200 });
      const before = await stored('restored');
      for (const [authorities, says] of [
        [[ended], /expired at/],
        [[ending], /in less than an hour/],
        [[later], /is valid only from/],
        [[{ ...first, tainted: true }], /is tainted and must not sign/],
      ] as const) {
        await put(serializePool({ ...document, authorities: [] }));
        const refused = await restore(JSON.stringify({ ...document, authorities }));
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, says);
        assert.match(refused.stderr, /\nhint: .*--allow-unusable/);
        const wanted = await restore(JSON.stringify({ ...document, authorities }), '--allow-unusable');
        assert.equal(wanted.code, 0, wanted.stderr);
      }
      await put(before.data ?? {});
    });

    it('a restored pool is reported with the entries of it that do not fit with the copy', async () => {
      const next = await createAuthority({ id: 'ca-2', trustDomain: 'example.org', now });
      const broken = { ...next, state: 'retiring' as const, certificate: `${first.privateKey}` };
      await put(serializePool({ ...document, authorities: [...document.authorities, broken] }));
      const refused = await restore(stringify(copy));
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /does not fit .*\(ca-2\): .*certificate.*\nhint: .*--drop-authority/);
      assert.equal((await restore(stringify(copy), '--drop-authority', 'ca-2')).code, 0);
    });

    it('a pool that cannot be read is replaced only with an option', async () => {
      await put({ 'pool.json': Buffer.from('{"authorities": [').toString('base64') });
      const refused = await restore(stringify(copy));
      assert.equal(refused.code, 1);
      assert.match(
        refused.stderr,
        /cannot be read \(pool: the text is not JSON.*\nhint: .*--replace-unreadable/,
      );
      const done = await restore(stringify(copy), '--replace-unreadable');
      assert.equal(done.code, 0, done.stderr);
      assert.ok((await restored()).sequence > document.sequence);
    });

    it('only a pool of the same trust domain is restored', async () => {
      const nothing = await restore(
        `kind: Secret\ndata: { other: ${Buffer.from('secret').toString('base64')} }`,
      );
      assert.equal(nothing.code, 1);
      const unreadable = /holds neither a pool Secret nor a pool\nhint: .*kubectl get secret/;
      assert.match(nothing.stderr, unreadable);
      const twice = await restore(`data: {}\n${stringify(copy)}`);
      assert.equal(twice.code, 1, 'YAML with a key that occurs twice');
      assert.match(twice.stderr, unreadable);
      const foreign = await restore(JSON.stringify({ ...document, trustDomain: 'example.com' }));
      assert.equal(foreign.code, 1);
      assert.match(foreign.stderr, /trust domain example\.com, and Secret pools\/restored of example\.org/);
    });
  });

  it('ca restore makes a pool again whose Secret was deleted', async () => {
    await ca('create', 'lost', ...wishes);
    const copy = await stored('lost');
    await controlPlane.request('DELETE', `/api/v1/namespaces/${namespace}/secrets/lost`);
    const restored = await run(
      ['ca', 'restore', '-n', namespace, '--name', 'lost', '--from', '-', '--kubeconfig', operator],
      { input: stringify(copy) },
    );
    assert.equal(restored.code, 0, restored.stderr);
    const parsed = parsePool(await stored('lost'), { trustDomain: 'example.org', now });
    assert.ok(parsed.ok);
    assert.ok(parsed.pool.sequence > sequenceOf(copy), String(parsed.pool.sequence));
  });

  it('ca restore looks for published roots only in the ClusterTrustBundle of the signer, by its name', async () => {
    const now = Math.floor(Date.now() / 1000);
    const { certificate = '' } = await createAuthority({ id: 'elsewhere', trustDomain: 'example.org', now });
    const root = new X509Certificate(certificate);
    const name = 'kubespiffe.io:spiffe:elsewhere';
    const bundles = '/apis/certificates.k8s.io/v1/clustertrustbundles';
    const created = await controlPlane.request('POST', bundles, {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'ClusterTrustBundle',
      metadata: { name, labels: bundleLabels('example.org') },
      spec: { signerName: 'kubespiffe.io/spiffe', trustBundle: certificate },
    });
    assert.equal(created.status, 201, JSON.stringify(created.body));
    try {
      const refused = await ca('create', 'by-name', ...wishes, '--bundle-suffix', 'elsewhere');
      assert.equal(refused.code, 1);
      const sha256 = root.fingerprint256.replaceAll(':', '').toLowerCase();
      assert.ok(refused.stderr.includes(`SHA-256 ${sha256} (`), refused.stderr);
      assert.match(refused.stderr, /CN=example\.org elsewhere/);
      const made = await ca('create', 'by-name', ...wishes);
      assert.equal(made.code, 0, made.stderr);
      assert.match(
        made.stderr,
        /^warning: there is no ClusterTrustBundle kubespiffe\.io:spiffe:roots, and kubespiffe\.io:spiffe:elsewhere is not read; .*--bundle-suffix/,
      );
      const restore = async (...flags: string[]) =>
        run(
          [
            ...['ca', 'restore', '-n', namespace, '--name', 'by-name', '--from', '-'],
            ...['--kubeconfig', controlPlane.kubeconfig, ...flags],
          ],
          { input: stringify(await stored('by-name')) },
        );
      const restored = await restore();
      assert.equal(restored.code, 0, restored.stderr);
      assert.ok(!poolJsonIn(await stored('by-name'))?.includes('published-'));
      const carried = await restore('--bundle-suffix', 'elsewhere');
      assert.equal(carried.code, 0, carried.stderr);
      assert.match(
        carried.stderr,
        new RegExp(
          `authority published-${sha256.slice(0, 8)}, SHA-256 ${sha256} \\(.*elsewhere.*\\), is kept`,
        ),
      );
    } finally {
      await controlPlane.request('DELETE', `${bundles}/${name}`);
    }
  });

  it('ca restore changes no pool that another command changes at the same time', async () => {
    await ca('create', 'busy', ...wishes);
    const before = sequenceOf(await stored('busy'));
    const name = ['ca', 'add-jwt-key', '-n', namespace, '--name', 'busy', '--kubeconfig', keeper];
    const ran = await Promise.all([1, 2, 3].map(() => run(name)));
    const done = ran.filter(({ code }) => code === 0);
    for (const { stderr } of ran.filter(({ code }) => code !== 0)) {
      assert.match(
        stderr,
        /^error: Secret pools\/busy was changed meanwhile.*\nhint: run the command again/m,
      );
    }
    const parsed = parsePool(await stored('busy'), { trustDomain: 'example.org', now });
    assert.ok(parsed.ok && done.length > 0);
    assert.equal(parsed.pool.sequence, before + done.length);
    assert.equal(parsed.pool.jwt.length, 2 + done.length);
  });

  it('ca create never overwrites an existing pool', async () => {
    await ca('create', 'kept', ...wishes);
    const before = await stored('kept');
    const again = await ca('create', 'kept', ...wishes, '--key-type', 'ed25519');
    assert.equal(again.code, 1);
    assert.match(
      again.stderr,
      /^error: Secret pools\/kept exists already and was not changed\nhint: .*ca show/,
    );
    assert.deepEqual(await stored('kept'), before);
  });

  it('ca create writes nothing in a dry run, also if the API server checks it', async () => {
    const checked = await ca('create', 'dry', ...wishes, '--dry-run=server');
    assert.equal(checked.code, 0, checked.stderr);
    assert.match(checked.stdout, /created in namespace pools \(server dry run\)/);
    const printed = await ca(
      'create',
      'dry',
      ...wishes,
      '--dry-run=client',
      '-o',
      'yaml',
      '--show-private-key',
    );
    const shown = await ca('show', 'dry');
    assert.equal(shown.code, 1);
    assert.match(
      shown.stderr,
      /^error: there is no Secret pools\/dry\nhint: .*--namespace and --name.*ca create --namespace pools --name dry/,
    );

    await controlPlane.kubectl(['apply', '-f', '-'], { input: printed.stdout });
    assert.equal((await ca('show', 'dry')).code, 0);
  });

  it('ca import takes a CA of cert-manager, with its intermediate', async () => {
    const root = await makeCa({ ...validity, subject: 'CN=root', uris: [] });
    const issuing = await makeCa({ ...validity, subject: 'CN=issuing', uris: [], issuer: root });
    const data = {
      'tls.crt': issuing.certificate,
      'tls.key': issuing.privateKey,
      'ca.crt': root.certificate,
    };
    await controlPlane.request('POST', `/api/v1/namespaces/${namespace}/secrets`, {
      metadata: { name: 'issuing' },
      type: 'kubernetes.io/tls',
      stringData: data,
    });
    const unnamed = await ca('import', 'of-tls', '--from-secret', `${namespace}/issuing`);
    assert.equal(unnamed.code, 2);
    assert.match(unnamed.stderr, /does not name its trust domain\nhint: .*--trust-domain/);
    const wanted = ['--from-secret', `${namespace}/issuing`, ...wishes.slice(2)];
    // A dry run warns as well: that is what it is for.
    for (const more of [['--dry-run'], []]) {
      const imported = await ca('import', 'of-tls', ...wanted, ...more);
      assert.equal(imported.code, 0, imported.stderr);
      assert.match(imported.stderr, /warning: .*carries no SPIFFE ID/);
    }
    const report = JSON.parse((await ca('show', 'of-tls', '-o', 'json')).stdout);
    assert.equal(report.authorities[0].id, 'issuing');
    assert.equal(report.authorities[0].root.subject, 'CN=root');
    assert.equal(report.authorities[0].intermediates[0].subject, 'CN=issuing');
  });

  it('ca import takes what openssl made, from files', async () => {
    const key = path.join(dir, 'ca.key');
    const cert = path.join(dir, 'ca.pem');
    const make = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=mine -days 30';
    const extensions = [
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
      '-addext',
      'subjectAltName=URI:spiffe://example.org',
    ];
    execFileSync('openssl', [...make.split(' '), ...extensions, '-keyout', key, '-out', cert], {
      stdio: 'pipe',
    });
    const imported = await ca('import', 'of-files', '--cert', cert, '--key', key, '--ca-id', 'mine');
    assert.equal(imported.code, 0, imported.stderr);
    assert.match(imported.stdout, /authority mine: active, ECDSA P-384/);
  });

  it('ca import takes a pool of mesh-example, whose first CA signs', async () => {
    const plain = await makeCa({ ...validity, subject: '', uris: [], algorithm: { name: 'Ed25519' } });
    const other = await makeCa({ ...validity, subject: 'CN=other', uris: [] });
    const der = (pem: string) => pem.split('\n').slice(1, -2).join('');
    const CAs = [plain, other].map((each, i) => ({
      ID: `${i + 1}`,
      SigningKeyPKCS8: der(each.privateKey),
      RootCertificateDER: der(each.certificate),
      IntermediateCertificatesDER: null,
    }));
    const pool = file('mesh.json', JSON.stringify({ CAs }));
    const imported = await ca('import', 'of-mesh', '--mesh-pool', pool, '--trust-domain', 'example.org');
    assert.equal(imported.code, 0, imported.stderr);
    const shown = await ca('show', 'of-mesh');
    assert.match(shown.stdout, /1 +X509 +active +Ed25519 +yes/);
    assert.match(shown.stdout, /2 +X509 +trusted +ECDSA P-256 +no/);
    assert.match(shown.stdout, /warning: .*issuer or subject is empty/);
  });

  it('ca import refuses a CA that could not sign, and writes nothing', async () => {
    const foreign = await makeCa({ ...validity, uris: ['spiffe://other.example'] });
    const ended = await makeCa({ notBefore: now - 7200, notAfter: now - 60 });
    for (const [made, says] of [
      [foreign, /other\.example/],
      [ended, /expired at/],
    ] as const) {
      const cert = file('bad.pem', made.certificate);
      const key = file('bad.key', made.privateKey);
      const refused = await ca('import', 'bad', '--cert', cert, '--key', key, ...wishes);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, says);
      assert.match(refused.stderr, /^error: pool\.authorities\[0\]\.certificate: .*\nhint: /);
    }
    assert.equal((await ca('show', 'bad')).code, 1);
  });

  it('ca show reports what is wrong with a pool, and ends with 1', async () => {
    await ca('create', 'broken', ...wishes);
    const pool = JSON.parse(
      Buffer.from((await stored('broken')).data?.['pool.json'] ?? '', 'base64').toString(),
    );
    pool.authorities[0].tainted = true;
    const data = { 'pool.json': Buffer.from(JSON.stringify(pool)).toString('base64') };
    await controlPlane.request('PATCH', `/api/v1/namespaces/${namespace}/secrets/broken`, { data });
    const shown = await ca('show', 'broken');
    assert.equal(shown.code, 1);
    assert.match(shown.stdout, /active \(tainted\)/);
    assert.match(shown.stdout, /problem: pool\.authorities\[0\]\.tainted: .*\n {2}remedy: /);

    const other = await ca('show', 'of-files', '--trust-domain', 'other.example');
    assert.equal(other.code, 1);
    assert.match(other.stdout, /problem: pool\.trustDomain/);
  });

  it('commands of ca report what is missing without rights, namespace or server', async () => {
    const forbidden = await run(['ca', 'show', '-n', namespace, '--name', 'new', '--kubeconfig', nobody]);
    assert.equal(forbidden.code, 1);
    assert.match(forbidden.stderr, /^error: .*403.*\nhint: .*cluster administrator/);
    const installer = await controlPlane.kubeconfigFor({ namespace, name: 'installer' });
    const nowhere = await run([
      ...['ca', 'create', '-n', 'nowhere', '--name', 'new', '--kubeconfig', installer],
      ...wishes,
    ]);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /hint: .*kubectl create namespace nowhere/);
  });

  it('inspect pcr shows a request without an answer, and reports when there is none', async () => {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const reference = `default/${request.metadata.name}`;
    const access = ['--kubeconfig', viewer];
    const pending = await waitFor('the right', async () => {
      const ran = await run(['inspect', 'pcr', reference, ...access]);
      return !/403/.test(ran.stderr) && ran;
    });
    assert.equal(pending.code, 0, pending.stderr);
    assert.match(pending.stdout, /State +Pending/);
    assert.match(pending.stdout, /Key +ECDSA P-256/);
    const { name } = request.metadata;
    const inDefault = await run(['inspect', 'pcr', name, '-n', 'default', ...access, '-o', 'json']);
    assert.deepEqual([inDefault.code, JSON.parse(inDefault.stdout).source], [0, reference]);
    const inContext = await run(['inspect', 'pcr', name, ...access]);
    assert.match(inContext.stderr, /namespaces\/pools\/podcertificaterequests/, 'the context is in pools');
    const listed = await controlPlane.kubectl(['get', 'podcertificaterequests', '-A', '-o', 'yaml']);
    const all = await run(['inspect', '-', '-o', 'json'], { input: listed });
    assert.equal(all.code, 0, all.stderr);
    const none = await run(['inspect', 'pcr', 'default/none', ...access]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /there is no PodCertificateRequest default\/none\nhint: /);
  });

  it('ca create makes a pool from which the signer issues valid SVIDs', async () => {
    const kubeconfig = await installSigner(controlPlane);
    const keepers = await accountWith('kubespiffe-ca-operator', 'operator-role.yaml', 'kubespiffe');
    const pool = ['-n', 'kubespiffe', '--name', 'kubespiffe-pool'];
    await createDeployment(controlPlane, []);
    const misspelt = ['--ca-id', 'ca-1', '--trust-domain', 'exmaple.org'];
    const refused = await run([
      'ca',
      'create',
      ...pool,
      '--kubeconfig',
      controlPlane.kubeconfig,
      ...misspelt,
    ]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /trust domain exmaple\.org.*trust domain example\.org\nhint: .*--trust-domain example\.org/,
    );
    const created = await waitFor('the right', async () => {
      const ran = await run(['ca', 'create', ...pool, '--kubeconfig', keepers, ...wishes]);
      return !/403/.test(ran.stderr) && ran;
    });
    assert.equal(created.code, 0, created.stderr);
    const signer = await startSigner({ kubeconfig });
    await signer.ready();

    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const { certificateChain } = await answerTo(controlPlane, request);
    const reference = `default/${request.metadata.name}`;
    const inspected = await run([
      'inspect',
      'pcr',
      reference,
      ...['--kubeconfig', viewer],
      '-o',
      'json',
      '--trust-domain',
      'example.org',
    ]);
    const report = JSON.parse(inspected.stdout);
    const broken = report.sections.flatMap((section: { findings: { ok: boolean }[] }) =>
      section.findings.filter((each) => !each.ok),
    );
    assert.deepEqual([inspected.code, report.conforms, broken], [0, true, []]);

    const { body } = await controlPlane.request(
      'GET',
      '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots',
    );
    const bundle = body as ClusterTrustBundle;
    const roots = file('roots.pem', bundle.spec.trustBundle);
    const chain = await run(['inspect', '-', '--roots', roots], { input: certificateChain ?? '' });
    assert.equal(chain.code, 0, chain.stdout);
    const published = await run(['inspect', '-'], { input: JSON.stringify(bundle) });
    assert.equal(published.code, 0, published.stdout);
    await signer.child.stop();
  });
});
