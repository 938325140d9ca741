import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { readSignedUntil, signedUntilStepSeconds } from '../../signer/authority/signed-until.ts';
import type {
  ClusterTrustBundle,
  ConfigMap,
  PodCertificateRequest,
  Secret,
} from '../../signer/kube/types.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startFaultProxy } from '../cluster/fault-proxy.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { launcher, type Ran, run } from '../tools/run.ts';
import { installSigner } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, requestFor } from './workloads.ts';

const operatorRole = join(import.meta.dirname, '../../manifests/base/operator-role.yaml');
const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

/** Two replicas sign all the time while the commands change the pool. Each test goes on where the one before ended. */
describe('the verbs of `kubespiffe ca` beside running signers', () => {
  let controlPlane: ControlPlane;
  let kubeconfig = '';
  let signers: SignerProcess[] = [];

  const ca = (...args: string[]): Promise<Ran> =>
    run(['ca', ...args, '--kubeconfig', controlPlane.kubeconfig]);
  const timing = ['--propagation-delay', '3s', '--max-lifetime', '24h'];

  before(async () => {
    controlPlane = await startControlPlane();
    // Pods of a node that does not exist would be deleted after 40 s.
    await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
    kubeconfig = await installSigner(controlPlane);
    const created = await ca('create', '--ca-id', 'ca-1', '--trust-domain', 'example.org');
    assert.equal(created.code, 0, created.stderr);
    signers = await Promise.all(
      ['signer-a', 'signer-b'].map((replica) =>
        startSigner({ kubeconfig, replica, flags: ['--root-propagation-delay', '3s'] }),
      ),
    );
    for (const signer of signers) await signer.ready();
  });
  after(async () => {
    for (const { child } of signers) await child.stop();
    await controlPlane?.stop();
  });

  async function rootsIn(bundle: string): Promise<X509Certificate[]> {
    const path = `/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:${bundle}`;
    const { spec } = (await controlPlane.request('GET', path)).body as ClusterTrustBundle;
    const blocks = decodePem(spec.trustBundle);
    assert.ok(blocks.ok);
    return blocks.value.map(({ der }) => new X509Certificate(der));
  }

  const namesIn = async (bundle: string) =>
    (await rootsIn(bundle)).map(({ subject }) => / (ca-\d+)$/.exec(subject)?.[1] ?? subject).sort();

  async function authorities() {
    const secret = (await controlPlane.request('GET', poolPath)).body as Secret;
    const read = readPoolDocument(poolJsonIn(secret) ?? '');
    assert.ok(read.ok);
    return read.document.authorities;
  }

  const auditLines = (stderr: string) =>
    stderr.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));

  async function forcedEvents(): Promise<{ note: string; regarding: { name: string } }[]> {
    const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/kubespiffe/events');
    const { items } = body as { items: { reason: string; note: string; regarding: { name: string } }[] };
    return items.filter(({ reason }) => reason === 'AuthorityForced');
  }

  /** Forces a remove, and kills the command while it lists who loses. It must have said everywhere what it did. */
  async function removeAndInterrupt(id: string, reason: string): Promise<void> {
    await controlPlane.kubectl(['apply', '--filename', operatorRole]);
    await controlPlane.kubectl(['create', 'serviceaccount', 'operator', '--namespace', 'kubespiffe']);
    await controlPlane.kubectl([
      ...['create', 'rolebinding', 'operator', '--namespace', 'kubespiffe'],
      ...['--role', 'kubespiffe-ca-operator', '--serviceaccount', 'kubespiffe:operator'],
    ]);
    const { url, authority } = controlPlane;
    await using proxy = await startFaultProxy({ url, authority: authority.certificate });
    const list = proxy.add({ path: /podcertificaterequests/, fault: { kind: 'hang' } });
    const through = await controlPlane.kubeconfigFor(
      { namespace: 'kubespiffe', name: 'operator' },
      { server: proxy.url, authority: proxy.authority },
    );
    const command = [launcher, 'ca', 'remove', id, '--force', '--reason', reason, '--kubeconfig', through];
    const child = startChild('remove', command, { logFile: join(controlPlane.dir, 'remove.log') });
    await waitFor('the list', () => list.hits() > 0, { needs: [child] });
    await child.stop('SIGKILL');
    const [line, ...more] = auditLines(child.lastLines());
    assert.deepEqual(
      [line?.event, line?.verb, line?.authority, line?.reason],
      ['forcing', 'remove', id, reason],
    );
    assert.deepEqual(more, []);
    assert.ok(
      (await forcedEvents()).some(({ note }) => note.startsWith(`ca remove ${id} --force: ${reason}`)),
    );
  }

  const stateOf = async (id: string) => (await authorities()).find((each) => each.id === id)?.state;

  /** A new certificate, which the live bundle of that moment verifies. @returns the id of the authority. */
  async function issueNow(): Promise<string> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const { certificateChain } = await answerTo(controlPlane, request);
    const leaf = new X509Certificate(certificateChain ?? '');
    const issuer = (await rootsIn('roots')).find(
      (root) => leaf.checkIssued(root) && leaf.verify(root.publicKey),
    );
    assert.ok(issuer, 'the live bundle does not verify it');
    return / (ca-\d+)$/.exec(issuer.subject)?.[1] ?? '';
  }

  it('ca rotate: certificates are issued without a break, and finally by the new CA', async () => {
    let isOver = false;
    const issued: string[] = [];
    const loop = (async () => {
      while (!isOver) issued.push(await issueNow());
    })();
    const ran = await ca('rotate', '--wait', ...timing).finally(() => {
      isOver = true;
    });
    await loop;
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(
      ran.stdout.split('\n').filter((line) => line.includes(' -> ')),
      [
        'authority ca-2: new -> prepared',
        'authority ca-2: prepared -> trusted',
        'authority ca-1: active -> retiring',
        'authority ca-2: trusted -> active',
      ],
    );
    assert.match(
      ran.stdout,
      /ca-1 is needed for what it signed, and can be retired from \S+ \(1d\).*run the same command/,
    );
    await waitFor('a certificate of the new CA', async () => (await issueNow()) === 'ca-2');
    assert.equal(issued[0], 'ca-1');
    const firstOfNew = issued.indexOf('ca-2');
    assert.ok(firstOfNew < 0 || issued.slice(firstOfNew).every((id) => id === 'ca-2'), issued.join());
    assert.deepEqual(await namesIn('roots'), ['ca-1', 'ca-2']);
    for (const authority of ['ca-1', 'ca-2']) {
      const counts = signers.map((each) => each.metric('kubespiffe_certificates_total', { authority }));
      const signed = (await Promise.all(counts)).reduce((sum, count) => sum + count);
      assert.ok(signed > 0, `${authority}: ${signed}`);
    }
  });

  it('the record of signatures covers every certificate, without a call for each', async () => {
    const at = '/api/v1/namespaces/kubespiffe/configmaps/kubespiffe-pool-signed-until';
    const signedUntil = readSignedUntil(((await controlPlane.request('GET', at)).body as ConfigMap).data);
    const requests = '/apis/certificates.k8s.io/v1/podcertificaterequests';
    const { items } = (await controlPlane.request('GET', requests)).body as {
      items: PodCertificateRequest[];
    };
    const roots = await rootsIn('roots');
    for (const { status } of items) {
      const leaf = new X509Certificate(status?.certificateChain ?? '');
      const issuer = roots.find((root) => leaf.checkIssued(root) && leaf.verify(root.publicKey));
      const key = issuer?.fingerprint256.replaceAll(':', '').toLowerCase() ?? '';
      const ends = leaf.validToDate.getTime() / 1000;
      const until = signedUntil.get(key) ?? 0;
      assert.ok(
        until >= ends && until < ends + 2 * signedUntilStepSeconds,
        `${until}, and one ends at ${ends}`,
      );
    }
    const calls = await Promise.all(
      signers.flatMap((signer) =>
        ['GET', 'PATCH'].map((verb) =>
          signer.metric('kubespiffe_api_requests_total', { verb, resource: 'configmaps' }),
        ),
      ),
    );
    const count = calls.reduce((sum, each) => sum + each, 0);
    assert.ok(items.length > 10, `${items.length} certificates`);
    assert.ok(count > 0 && count <= 12, `${count} calls for ${items.length} certificates`);
  });

  it('ca status prints the timeline of each authority, and the next step', async () => {
    const shown = await ca('status', ...timing);
    assert.match(shown.stdout, /^ca-1 {2}X509 {2}retiring\n/);
    assert.match(shown.stdout, /● +\S+ +no longer signs +\d+s ago/);
    assert.match(shown.stdout, /○ +\S+ +may be retired +in (23h59m|1d)/);
    assert.match(shown.stdout, /Next for X509: authority ca-1 is needed for what it signed/);
    const { authorities: all } = JSON.parse((await ca('status', '-o', 'json', ...timing)).stdout);
    assert.deepEqual(
      all.map(({ id, state }: { id: string; state: string }) => `${id} ${state}`),
      ['ca-1 retiring', 'jwt-es256-1 active', 'jwt-rs256-1 active', 'ca-2 active'],
    );
  });

  it('who lists the pods that hold certificates of a CA', async () => {
    const shown = JSON.parse((await ca('who', 'ca-1', '-o', 'json')).stdout);
    assert.ok(shown.holders.length > 0);
    const path = '/apis/certificates.k8s.io/v1/podcertificaterequests';
    const { items } = (await controlPlane.request('GET', path)).body as { items: PodCertificateRequest[] };
    for (const { pod, signer, serial } of shown.holders) {
      assert.equal(signer, 'kubespiffe.io/spiffe');
      const chain = items.find(({ spec }) => spec.podName === pod)?.status?.certificateChain ?? '';
      assert.equal(new X509Certificate(chain).serialNumber.toLowerCase(), serial);
    }
    const both =
      JSON.parse((await ca('who', 'ca-2', '-o', 'json')).stdout).holders.length + shown.holders.length;
    assert.equal(both, items.length, 'each certificate belongs to one of the two');
    assert.match((await ca('who', 'ca-1')).stdout, /default\/pod-\w+ +kubespiffe.io\/spiffe +in /);
    assert.match(
      (await ca('who', 'ca-9')).stderr,
      /there is no CA ca-9 in the pool\nhint: name one of ca-1, ca-2/,
    );
  });

  it('ca retire refuses an authority that a certificate needs, unless that is forced', async () => {
    const refused = await ca('retire', 'ca-1', ...timing);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /ca-1 may have signed certificates that are valid until .*\nhint: .*--force --reason/,
    );
    assert.match(refused.stderr, /^pods that hold certificates of ca-1: \d+ in default$/m);
    assert.match(refused.stderr, /^the last certificate of ca-1 ends at \S+ at the latest$/m);
    const key = await ca('retire', 'jwt-rs256-1', ...timing);
    assert.match(key.stderr, /^the last token of jwt-rs256-1 ends at \S+ at the latest$/m);
    assert.equal(await stateOf('ca-1'), 'retiring');
    const silent = await ca('retire', 'ca-1', '--force', ...timing);
    assert.match(silent.stderr, /retire --force needs a reason/);
    assert.equal(await stateOf('ca-1'), 'retiring');
    const forced = await ca('retire', 'ca-1', '--force', '--reason', 'its key was stolen', ...timing);
    assert.equal(forced.code, 0, forced.stderr);
    const audit = auditLines(forced.stderr);
    assert.deepEqual(
      audit.map(({ event, verb, authority, reason }) => [event, verb, authority, reason]),
      ['forcing', 'forced'].map((event) => [event, 'retire', 'ca-1', 'its key was stolen']),
    );
    assert.match(audit[1]?.dependents.join() ?? '', /ca-1: \d+ in default/);
    const events = await forcedEvents();
    assert.deepEqual([...new Set(events.map(({ regarding }) => regarding.name))], ['kubespiffe-pool']);
    assert.ok(events.some(({ note }) => /its key was stolen.*ca-1: \d+ in default/.test(note)));
    // It is done before it is listed who loses: that may take long.
    assert.match(
      forced.stderr,
      /^warning: authority ca-1 may have signed [\s\S]*^pods that hold certificates of ca-1: /m,
    );
    await waitFor('the root to be gone', async () => (await namesIn('roots')).join() === 'ca-2');
  });

  it('ca remove deletes an entry that nothing needs, or any by force, and a killed command leaves a record', async () => {
    const refused = await ca('remove', 'ca-1');
    assert.match(refused.stderr, /ca-1 may have signed what is valid until .*\nhint: .*--force --reason/);
    await removeAndInterrupt('ca-1', 'it was stolen');
    assert.equal(await stateOf('ca-1'), undefined);
    assert.equal(await issueNow(), 'ca-2');
  });

  it('a CA in preview is in the preview bundle with the live roots, and in no other, until it is removed', async () => {
    assert.equal((await ca('prepare', '--ca-id', 'ca-3')).code, 0);
    const dry = await ca('preview', 'ca-3', '--dry-run');
    assert.match(dry.stdout, /ca-3: prepared -> preview \(server dry run\)/);
    assert.match(dry.stderr, /^who notices: pods that project the preview bundle get its root$/m);
    assert.equal(await stateOf('ca-3'), 'prepared');
    assert.equal((await ca('preview', 'ca-3')).code, 0);
    await waitFor('the preview bundle', async () => (await namesIn('roots-preview')).join() === 'ca-2,ca-3');
    assert.deepEqual(await namesIn('roots'), ['ca-2']);
    const early = await ca('activate', 'ca-3');
    assert.match(
      early.stderr,
      /ca-3 is preview, and activate is for one that is trusted\nhint: .*ca trust ca-3/,
    );
    assert.equal((await ca('remove', 'ca-3')).code, 0);
    await waitFor('it to be taken back', async () => (await namesIn('roots-preview')).join() === 'ca-2');
  });

  it('ca activate waits until every verifier can have the root', async () => {
    // On a slow machine a command takes seconds.
    const longer = ['--propagation-delay', '12s', '--max-lifetime', '24h'];
    for (const verb of ['prepare', 'trust']) {
      const ran = await ca(verb, ...(verb === 'prepare' ? ['--ca-id', 'ca-4'] : ['ca-4']));
      assert.equal(ran.code, 0, ran.stderr);
    }
    await waitFor('its root', async () => (await namesIn('roots')).includes('ca-4'));
    const early = await ca('activate', 'ca-4', ...longer);
    assert.match(early.stderr, /may sign from .* until then no certificates are signed/);
    const waited = await ca('activate', 'ca-4', '--wait', ...longer);
    assert.equal(waited.code, 0, waited.stderr);
    assert.match(waited.stderr, /waiting until/);
    await waitFor('its first certificate', async () => (await issueNow()) === 'ca-4');
  });

  it('ca taint makes every replica sign with another ready authority within 5 s, and never again with this one', async (t) => {
    for (const args of [
      ['prepare', '--ca-id', 'ca-5'],
      ['trust', 'ca-5'],
    ]) {
      assert.equal((await ca(...args)).code, 0);
    }
    const ready = async () => /may be activated/.test((await ca('status', ...timing)).stdout);
    assert.ok(await ready());
    await waitFor('ca-5 to be ready', async () => {
      const { authorities: all } = JSON.parse((await ca('status', '-o', 'json', ...timing)).stdout);
      return all.find(({ id }: { id: string }) => id === 'ca-5').readyFrom <= Date.now() / 1000;
    });
    // Two pods that a budget counts, and one that nothing would replace.
    // Any object may be a controller; without one that exists the garbage collector would delete the pods.
    const { metadata } = await create<ConfigMap>(controlPlane, '/api/v1/namespaces/default/configmaps', {
      metadata: { name: 'web' },
    });
    const { name: ownerName, uid } = metadata;
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name: ownerName, uid, controller: true };
    for (const [name, ownerReferences] of [
      ['web-1', [owner]],
      ['web-2', [owner]],
      ['bare', []],
    ] as const) {
      const pod = await createPod(controlPlane, { name, labels: { app: name }, ownerReferences });
      await answerTo(controlPlane, await requestFor(controlPlane, pod));
    }
    const early = await ca('evict', 'ca-4', '--dry-run');
    assert.match(early.stderr, /ca-4 signs: new pods would get its certificates again/);

    const tainted = await ca('taint', 'ca-4', ...timing);
    const taintedAt = Date.now();
    assert.match(tainted.stderr, /ca-5 was ready and signs in its place/);
    assert.match(tainted.stderr, /^pods that hold certificates of ca-4: \d+ in default$/m);
    // Both replicas answer some of these.
    let lastOfOld = 0;
    for (let i = 0; i < 20; i += 1) {
      const startedAt = Date.now();
      if ((await issueNow()) !== 'ca-5') lastOfOld = startedAt - taintedAt;
    }
    t.diagnostic(`the last certificate of the tainted CA was asked for ${lastOfOld} ms after the taint`);
    assert.ok(lastOfOld <= 5_000, `${lastOfOld} ms`);
    assert.equal((await ca('untaint', 'ca-4')).code, 0);
    assert.match((await ca('activate', 'ca-4')).stderr, /ca-4 is retiring, and activate is for/);
    // The running pods go on: their root stays.
    assert.ok((await namesIn('roots')).includes('ca-4'));
  });

  it('ca evict evicts pods that have a controller, as far as their PodDisruptionBudgets allow it', async () => {
    const pods = '/api/v1/namespaces/default/pods';
    // A pod that does not run yet is evicted in spite of its budget.
    const status = { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } };
    await controlPlane.request('PATCH', `${pods}/web-2/status`, status);
    // The one pod must stay.
    await create(controlPlane, '/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
      metadata: { name: 'web' },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'web-2' } } },
    });
    const isDeleted = async (name: string) => {
      const { body } = await controlPlane.request('GET', `${pods}/${name}`);
      return body.metadata?.deletionTimestamp !== undefined || body.code === 404;
    };
    const evict = (...more: string[]) =>
      ca('evict', 'ca-4', '--rate', '20', '--propagation-delay', '3s', ...more);
    const dry = await evict('--dry-run');
    assert.match(dry.stdout, /^pod default\/web-1 evicted \(server dry run\)$/m);
    assert.equal(await isDeleted('web-1'), false);
    const ran = await evict('--timeout', '1s');
    assert.equal(ran.code, 1);
    assert.match(ran.stdout, /^pod default\/web-1 evicted$/m);
    assert.match(ran.stdout, /^pod default\/web-2 blocked: .*429/m);
    assert.match(ran.stdout, /^1 of 2 pods evicted, 1 blocked$/m);
    assert.match(ran.stderr, /left alone: default\/bare has no controller/);
    assert.deepEqual(await Promise.all(['web-1', 'web-2', 'bare'].map(isDeleted)), [true, false, false]);
  });

  it('ca rotate lets one of two ready authorities sign, and keeps the other one', async () => {
    for (const id of ['ca-6', 'ca-7']) {
      for (const args of [
        ['prepare', '--ca-id', id],
        ['trust', id],
      ])
        assert.equal((await ca(...args)).code, 0);
    }
    await waitFor('both to be ready', async () => {
      const { authorities: all } = JSON.parse((await ca('status', '-o', 'json', ...timing)).stdout);
      const next = all.filter(({ id }: { id: string }) => ['ca-6', 'ca-7'].includes(id));
      return next.every(({ readyFrom }: { readyFrom: number }) => readyFrom <= Date.now() / 1000);
    });
    const { code, stdout, stderr } = await ca('rotate', ...timing);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.match(/-> active/g)?.length, 1, stdout);
    assert.deepEqual([await stateOf('ca-6'), await stateOf('ca-7')].sort(), ['active', 'trusted']);
  });

  it('a dry run of each verb reports what would change, when it is safe and who is affected, and writes nothing', async () => {
    const trusted = (await authorities()).find(({ state, kind }) => state === 'trusted' && kind === 'X509');
    assert.equal((await ca('prepare', '--ca-id', 'ca-0')).code, 0);
    assert.equal((await ca('taint', 'ca-5')).code, 0);
    const secret = async () => (await controlPlane.request('GET', poolPath)).body as Secret;
    const { resourceVersion } = (await secret()).metadata;
    for (const [args, wouldBe, when] of [
      [['prepare'], / ca-\d+: new -> prepared/, /who notices: nobody/],
      [['preview', 'ca-0'], / ca-0: prepared -> preview/, /^safe: now$/m],
      [['trust', 'ca-0'], / ca-0: prepared -> trusted/, /^safe: now$/m],
      [['activate', trusted?.id ?? '', ...timing], / ca-\d: trusted -> active/, /^safe: now$/m],
      [['activate', trusted?.id ?? '', '--propagation-delay', '9h'], /^$/, /may sign from \S+Z on/],
      [['retire', 'ca-5', ...timing], /^$/, /may have signed certificates that are valid until \S+Z/],
      [['remove', 'ca-0'], / ca-0: prepared -> removed/, /^safe: now$/m],
      [['taint', trusted?.id ?? ''], / ca-\d: trusted -> trusted, tainted/, /^safe: now$/m],
      [['untaint', 'ca-5'], / ca-5: retiring, tainted -> retiring/, /^safe: now$/m],
      [['rotate', ...timing], /^next: activate authority ca-\d$/m, /who notices: new certificates/],
    ] as const) {
      const { stdout, stderr } = await ca(...args, '--dry-run');
      assert.match(stdout, wouldBe, `${args}: ${stderr}`);
      assert.match(stderr, when, `${args}`);
      assert.match(stderr, /^who notices: /m, `${args}`);
    }
    assert.equal((await secret()).metadata.resourceVersion, resourceVersion);
  });

  it('a CA and a JWT key that no replica could publish at first wait for as long as verifiers need to get them', async () => {
    for (const { child } of signers) await child.stop();
    assert.equal((await ca('prepare', '--ca-id', 'ca-8')).code, 0);
    assert.equal((await ca('trust', 'ca-8')).code, 0);
    // A new JWT key, which is published in the same way.
    assert.equal((await ca('rotate', '--type', 'es256')).code, 0);
    // As if nobody had been there for an hour.
    const secret = (await controlPlane.request('GET', poolPath)).body as Secret;
    const document = JSON.parse(poolJsonIn(secret) ?? '') as PoolDocument;
    const publishedAt = rfc3339(Math.floor(Date.now() / 1000) - 3_600);
    const isNext = ({ id, state, kind }: AuthorityRecord) =>
      id === 'ca-8' || (kind === 'JWT-ES256' && state === 'trusted');
    const old = document.authorities.map((each) => (isNext(each) ? { ...each, publishedAt } : each));
    const key = document.authorities.find((each) => isNext(each) && each.id !== 'ca-8')?.id ?? '';
    const data = serializePool({ ...document, authorities: old });
    assert.equal((await controlPlane.request('PATCH', poolPath, { data })).status, 200);
    const unseen = await ca('activate', 'ca-8', ...timing);
    assert.match(unseen.stderr, /root of authority ca-8 is not in the ClusterTrustBundle yet/);
    assert.match(
      (await ca('activate', key, ...timing)).stderr,
      new RegExp(`no signer has published the key of authority ${key} yet`),
    );
    const waiting = ca('activate', 'ca-8', '--wait', '--propagation-delay', '12s');
    signers = [
      await startSigner({ kubeconfig, replica: 'signer-c', flags: ['--root-propagation-delay', '3s'] }),
    ];
    await waitFor('its root', async () => (await namesIn('roots')).includes('ca-8'));
    const settings = join(controlPlane.dir, 'signer.json');
    const header = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'SignerConfiguration' };
    const delay = { trustDomain: 'example.org', rootPropagationDelay: '10m' };
    await writeFile(settings, JSON.stringify({ ...header, ...delay }));
    const early = await ca('activate', 'ca-8', '--config', settings);
    assert.match(early.stderr, /authority ca-8 may sign from \S+ on, when every verifier can have it/);
    const earlyKey = await ca('activate', key, '--propagation-delay', '10m');
    assert.match(earlyKey.stderr, new RegExp(`authority ${key} may sign from \\S+ on, when every verifier`));
    const waited = await waiting;
    assert.equal(waited.code, 0, waited.stderr);
    await waitFor('its first certificate', async () => (await issueNow()) === 'ca-8');
  });

  it('two operators who rotate at the same time make one new authority', async () => {
    const before = (await authorities()).filter(({ kind }) => kind === 'JWT-RS256').length;
    const both = await Promise.all([1, 2].map(() => ca('rotate', '--type', 'rs256')));
    assert.ok(both.some(({ code }) => code === 0));
    for (const { code, stderr } of both) {
      assert.ok(code === 0 || /changed meanwhile/.test(stderr), stderr);
    }
    const after = (await authorities()).filter(({ kind }) => kind === 'JWT-RS256').length;
    assert.equal(after, before + 1);
  });
});
