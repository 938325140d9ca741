import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority } from '../../signer/authority/create.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import type { ClusterTrustBundle, Secret } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder } from '../cluster/state-folder.ts';
import { run } from '../tools/run.ts';
import { deletePool, putPool } from './installation.ts';
import { installTokenEndpoint, startTokenSigner, type TokenSigner } from './token-endpoint.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';

/** What `spiffe_sequence` promises (none goes back, one sequence is one content), for every content of the Secret. */
describe('a pool whose sequence does not follow what was published', () => {
  let controlPlane: ControlPlane;
  let installed: Awaited<ReturnType<typeof installTokenEndpoint>>;
  let old: PoolDocument;
  let published: PoolDocument;
  const replicas = new Map<string, TokenSigner>();

  before(async () => {
    controlPlane = await startControlPlane();
    installed = await installTokenEndpoint(controlPlane);
    old = installed.pool;
    await start('signer-a');
    await replica('signer-a').signer.ready();
    const now = Math.floor(Date.now() / 1000);
    const second = await createAuthority({ id: '2', trustDomain: 'example.org', now });
    const authorities = [...old.authorities, { ...second, state: 'trusted' as const }];
    published = { ...old, sequence: 5, authorities };
    await putPool(controlPlane, published);
    await waitFor('the bundle of the new pool', async () => (await sequenceServed('signer-a')) === 5);
    await waitFor('the roots of the new pool', async () => (await bundle()).roots === 2);
  });
  after(async () => {
    await stopAll();
    await controlPlane?.stop();
  });

  const replica = (name: string) => replicas.get(name) ?? assert.fail(`${name} does not run`);
  async function start(name: string): Promise<void> {
    replicas.set(name, await startTokenSigner(installed, { replica: name }));
  }
  async function stopAll(): Promise<void> {
    for (const { signer } of replicas.values()) await signer.child.stop();
    replicas.clear();
  }

  /** The `spiffe_sequence` that a replica serves; undefined where it has no bundle to serve. */
  async function sequenceServed(name: string): Promise<unknown> {
    const answer = await replica(name)
      .call({ path: '/bundle' })
      .catch(() => undefined);
    return answer?.status === 200 ? answer.json.spiffe_sequence : undefined;
  }

  async function bundle(): Promise<{ roots: number; sequence: string | undefined }> {
    const { body } = await controlPlane.request('GET', bundlePath);
    const { metadata, spec } = body as ClusterTrustBundle;
    return {
      roots: spec.trustBundle.match(/BEGIN CERTIFICATE/g)?.length ?? 0,
      sequence: metadata.annotations?.['kubespiffe.io/sequence'],
    };
  }

  const shows = (expected: Awaited<ReturnType<typeof bundle>>) =>
    waitFor('the trust bundle', async () => {
      assert.deepEqual(await bundle(), expected);
      return true;
    });

  async function refuses(name: string, expected: RegExp): Promise<void> {
    await waitFor(`${name} to say ${expected}`, async () => {
      const { ok, text } = await replica(name).signer.readiness();
      if (ok || !expected.test(text)) throw new Error(text);
      return true;
    });
  }

  async function issues(): Promise<void> {
    for (const { signer } of replicas.values()) await signer.ready();
    const pod = await createPod(controlPlane);
    const { conditions } = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    assert.equal(conditions?.[0]?.type, 'Issued');
  }

  const wentBack =
    /^\[-\]spiffe\/pool .*pool\.sequence: is 1, and a pool of sequence 5 was published; .*ca restore/m;

  it('a pool with an older sequence is refused: the last good one stays published, and waiting pods get the remedy in an Event', async () => {
    await putPool(controlPlane, old);
    await refuses('signer-a', wentBack);
    assert.equal(await sequenceServed('signer-a'), 5);
    const pod = await createPod(controlPlane);
    const request = await requestFor(controlPlane, pod);
    const note = await waitFor('the Event', async () => {
      const { body } = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = body as { items: { note: string; regarding: { uid: string } }[] };
      return items.find(({ regarding }) => regarding.uid === pod.metadata.uid)?.note;
    });
    assert.match(
      note,
      /sequence 5 was published; .*put it back with `kubespiffe ca restore`.*set sequence to 6/,
    );
    assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
    assert.deepEqual(await bundle(), { roots: 2, sequence: '5' });
  });

  it('a pool with an older sequence is refused by a replica that starts, and by all after all were restarted', async () => {
    await start('signer-b');
    await refuses('signer-b', wentBack);
    await stopAll();
    await Promise.all(['signer-a', 'signer-b'].map(start));
    for (const name of replicas.keys()) {
      await refuses(name, wentBack);
      assert.equal(await sequenceServed(name), undefined);
    }
    assert.deepEqual(await bundle(), { roots: 2, sequence: '5' });
  });

  it('a pool with an older sequence is accepted once `kubespiffe ca restore` has put it back', async () => {
    const folder = await makeStateFolder();
    const copy = path.join(folder, 'pool.json');
    const secret: Secret = { kind: 'Secret', metadata: { name: 'x' }, data: serializePool(old) };
    await writeFile(copy, JSON.stringify(secret));
    const options = ['-n', 'kubespiffe', '--name', 'kubespiffe-pool', '--from', copy];
    const restored = await run(['ca', 'restore', ...options, '--kubeconfig', controlPlane.kubeconfig]);
    assert.equal(restored.code, 0, restored.stderr);
    await issues();
    const sequence = Number(/sequence (\d+)/.exec(restored.stdout)?.[1]);
    assert.match(
      restored.stderr,
      /^warning: authority published-[0-9a-f]{8}, SHA-256 [0-9a-f]{64} \(.*\), is kept from the current pool, retiring: /m,
    );
    await shows({ roots: 2, sequence: String(sequence) });
    for (const name of replicas.keys()) assert.equal(await sequenceServed(name), sequence);
  });

  it('a pool with other content under the same sequence is refused, and accepted with the sequence that the message names', async () => {
    const sequence = Number((await bundle()).sequence);
    const authorities = published.authorities.map((each) =>
      each.id === '2' ? { ...each, state: 'retired' as const } : each,
    );
    await putPool(controlPlane, { ...published, authorities, sequence });
    const expected = new RegExp(
      `pool\\.sequence: is ${sequence}, as that of .* set sequence to ${sequence + 1}`,
    );
    for (const name of replicas.keys()) {
      await refuses(name, expected);
      assert.equal(await sequenceServed(name), sequence);
    }
    assert.equal((await bundle()).roots, 2);
    await putPool(controlPlane, { ...published, authorities, sequence: sequence + 1 });
    await issues();
    await shows({ roots: 1, sequence: String(sequence + 1) });
  });

  it('a new pool in place of a lost one loses no root', async () => {
    const before = await bundle();
    // A new pool begins with the time; the ones before were raised within the same second.
    await waitFor('a later second', () => Date.now() / 1000 >= Number(before.sequence) + 1);
    await deletePool(controlPlane);
    for (const name of replicas.keys()) {
      await refuses(
        name,
        /^\[-\]spiffe\/pool .*no such Secret; put a copy back with `kubespiffe ca restore`;.*ca create/m,
      );
    }
    const create = (...more: string[]) =>
      run([
        ...['ca', 'create', '--ca-id', 'ca-1', '--trust-domain', 'example.org'],
        ...['--kubeconfig', controlPlane.kubeconfig, ...more],
      ]);
    const refused = await create();
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^error: roots of example\.org are published that the new pool lacks, .*: SHA-256 [0-9a-f]{64} \(.*\nhint: .*ca restore .*--start-anew/,
    );

    // A pool that was made past the check: the signers refuse it themselves.
    const printed = await create('--dry-run=client', '-o', 'json', '--show-private-key');
    await controlPlane.kubectl(['apply', '-f', '-'], { input: printed.stdout });
    for (const name of replicas.keys())
      await refuses(name, /^\[-\]spiffe\/pool .*published roots are missing/m);
    assert.deepEqual(await bundle(), before);
    await stopAll();
    await Promise.all(['signer-a', 'signer-b'].map(start));
    for (const name of replicas.keys())
      await refuses(name, /^\[-\]spiffe\/pool .*published roots are missing/m);
    assert.deepEqual(await bundle(), before);

    await deletePool(controlPlane);
    const made = await create('--start-anew');
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^authority published-[0-9a-f]{8}: retiring, /m);
    assert.match(made.stderr, /^warning: .*verifiers may not have the root of authority ca-1 before 20/m);
    const shown = await run(['ca', 'show', '--kubeconfig', controlPlane.kubeconfig]);
    assert.match(shown.stdout, /^published-[0-9a-f]{8} +X509 +retiring +ECDSA P-256 +no /m);
    assert.match(shown.stdout, /^ {2}No longer signs since 20/m);
    await issues();
    await waitFor('the root of the new pool beside the old one', async () => (await bundle()).roots === 2);
  });

  it('a taint by hand works without a change of the sequence', async () => {
    const { body } = await controlPlane.request(
      'GET',
      '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool',
    );
    const json = poolJsonIn(body as Secret) ?? '';
    const pool = JSON.parse(json) as PoolDocument;
    await putPool(controlPlane, {
      ...pool,
      authorities: pool.authorities.map((each) => ({ ...each, tainted: each.kind === 'X509' })),
    });
    for (const name of replicas.keys()) await refuses(name, /^\[-\]spiffe\/pool .*ca-1 is tainted/m);
  });
});
