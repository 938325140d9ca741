import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import { readSignedUntil, signedUntilKeyOf, writeSignedUntil } from '../../signer/authority/signed-until.ts';
import type { ClusterTrustBundle, ConfigMap, Secret } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { openPrograms } from '../cluster/programs.ts';
import { blocksBelow, blocksOf, checkout, readPage } from '../docs/markdown.ts';
import { type Ran, run } from '../tools/run.ts';
import { runCommands } from './page-commands.ts';
import { type Meanwhile, poolCommands } from './pool-commands.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';

const namespace = 'kubespiffe';
const recordPath = `/api/v1/namespaces/${namespace}/configmaps/kubespiffe-pool-signed-until`;
const poolPath = `/api/v1/namespaces/${namespace}/secrets/kubespiffe-pool`;

/** Stands for a person at an editor, who taints a key. */
const editor = `
const fs = require('node:fs');
const [, , file] = process.argv;
const pool = JSON.parse(fs.readFileSync(file, 'utf8'));
for (const each of pool.authorities) if (each.id === 'jwt-rs256-1') each.tainted = true;
fs.writeFileSync(file, JSON.stringify(pool));
`;

/** The commands of the page that change a pool, run as written, with the ClusterRole that we ship for it. */
describe('a pool changed as its page says', () => {
  let controlPlane: ControlPlane;
  let folder = '';
  let env: Record<string, string> = {};
  let page: Awaited<ReturnType<typeof readPage>>;
  let kubeconfig = '';
  let signer: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    await controlPlane.kubectl(['apply', '--server-side', '-k', join(checkout, 'manifests/base')]);
    kubeconfig = await controlPlane.kubeconfigFor({ namespace, name: 'kubespiffe-signer' });
    const operator = { namespace, name: 'operator' };
    await controlPlane.kubectl(['create', 'serviceaccount', operator.name, '--namespace', namespace]);
    await controlPlane.kubectl([
      ...['create', 'rolebinding', 'ca-operators', '--namespace', namespace],
      ...['--role=kubespiffe-ca-operator', `--serviceaccount=${namespace}:${operator.name}`],
    ]);
    await controlPlane.kubectl([
      ...['create', 'clusterrolebinding', 'viewers', '--clusterrole=kubespiffe-identity-viewer'],
      `--serviceaccount=${namespace}:${operator.name}`,
    ]);
    folder = await mkdtemp(join(tmpdir(), 'kubespiffe-by-hand-'));
    const { PATH, write } = await openPrograms(controlPlane, join(folder, 'bin'));
    await write('edit', `#!${process.execPath}\n${editor}`);
    env = { PATH, KUBECONFIG: await controlPlane.kubeconfigFor(operator) };
    await waitFor('the right to make the pool', async () => {
      const wishes = ['--ca-id', 'first', '--trust-domain', 'example.org'];
      return (await run(['ca', 'create', ...wishes], { env })).code === 0;
    });
    page = await readPage('docs/reference/pool.md');
    signer = await startSigner({ kubeconfig });
    await signer.ready();
  });
  after(async () => {
    await signer?.child.stop();
    await controlPlane?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  /** Runs what stands in the page, where a person has an editor. */
  async function make(code: string | undefined): Promise<Ran> {
    const cwd = join(folder, 'work');
    await mkdir(cwd, { recursive: true });
    const ran = await run(['-euc', code ?? 'false'], {
      file: '/bin/sh',
      cwd,
      env: { ...env, EDITOR: 'edit' },
    });
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(await readdir(cwd), [], 'a file with keys is left');
    return ran;
  }

  const codeBelow = (title: string) => blocksBelow(page, title).map(({ code }) => code);

  /** The commands in the text below a heading. */
  function commandsBelow(title: string): string[] {
    const [, rest = ''] = page.text.split(`### ${title}\n`);
    const [section = ''] = rest.split('\n#');
    return [...section.matchAll(/`(kubespiffe ca [^`]+)`/g)].map(([, command = '']) => command);
  }

  async function pool(): Promise<PoolDocument> {
    const { body } = await controlPlane.request('GET', poolPath);
    return JSON.parse(poolJsonIn(body as Secret) ?? '') as PoolDocument;
  }

  /** As if an authority had stopped signing, or been published, so many seconds earlier. */
  async function passTime(
    id: string,
    seconds: number,
    field: 'deactivatedAt' | 'publishedAt' = 'deactivatedAt',
  ): Promise<void> {
    const document = await pool();
    const authorities = document.authorities.map((each) => {
      if (each.id !== id) return each;
      const at = Date.parse(each[field] ?? assert.fail(`${id} is not dated`)) - seconds * 1000;
      return { ...each, [field]: new Date(at).toISOString() };
    });
    const data = serializePool({ ...document, authorities });
    assert.equal((await controlPlane.request('PATCH', poolPath, { data })).status, 200);
    if (field === 'deactivatedAt') await passTimeOfRecord(seconds);
  }

  /** As if everything had been signed so many seconds earlier. */
  async function passTimeOfRecord(seconds: number): Promise<void> {
    const { data } = (await controlPlane.request('GET', recordPath)).body as ConfigMap;
    const earlier = [...readSignedUntil(data)].map(([key, until]) => [
      key,
      writeSignedUntil(until - seconds),
    ]);
    const { status } = await controlPlane.request('PATCH', recordPath, { data: Object.fromEntries(earlier) });
    assert.equal(status, 200);
  }

  /** As if a CA or a JWT key had been published so many seconds earlier, when a signer has published it. */
  async function passTimeInBundle(id: string, seconds: number): Promise<void> {
    await passTime(id, seconds, 'publishedAt');
    const path = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
    await waitFor('the bundle of this pool', async () => {
      const { metadata } = (await controlPlane.request('GET', path)).body as ClusterTrustBundle;
      return metadata.annotations?.['kubespiffe.io/sequence'] === String((await pool()).sequence);
    });
    const annotations = { 'kubespiffe.io/added-at': null };
    assert.equal((await controlPlane.request('PATCH', path, { metadata: { annotations } })).status, 200);
  }

  async function authorities(): Promise<Record<string, string>> {
    const { stdout } = await run(['ca', 'show', '-o', 'json'], { env });
    const shown = JSON.parse(stdout) as { authorities: { id: string; state: string; tainted: boolean }[] };
    return Object.fromEntries(
      shown.authorities.map(({ id, state, tainted }) => [id, tainted ? `${state}, tainted` : state]),
    );
  }

  it('the page rotates the CA with one command, which is repeated when it asks for that', async () => {
    const [rotate] = codeBelow('The next CA');
    const keys = { 'jwt-es256-1': 'active', 'jwt-rs256-1': 'active' };
    const began = await make(rotate);
    assert.match(began.stdout, /authority ca-1 can sign from 20.*: run the same command again then/);
    assert.deepEqual(await authorities(), { first: 'active', ...keys, 'ca-1': 'trusted' });
    await passTimeInBundle('ca-1', 7 * 60);
    const activated = await make(rotate);
    assert.match(
      activated.stdout,
      /authority first is needed for what it signed, and can be retired from 20/,
    );
    assert.deepEqual(await authorities(), { first: 'retiring', ...keys, 'ca-1': 'active' });
    await passTime('first', 24 * 3600 + 60);
    await make(rotate);
    assert.deepEqual(await authorities(), { first: 'retired', ...keys, 'ca-1': 'active' });
  });

  it('the commands of the page rotate a JWT key', async () => {
    const [rotate] = codeBelow('The next JWT key');
    const others = { first: 'retired', 'jwt-rs256-1': 'active', 'ca-1': 'active' };
    await make(rotate);
    assert.deepEqual(await authorities(), { ...others, 'jwt-es256-1': 'active', 'jwt-es256-2': 'trusted' });
    await passTimeInBundle('jwt-es256-2', 16 * 60);
    await make(rotate);
    assert.deepEqual(await authorities(), { ...others, 'jwt-es256-1': 'retiring', 'jwt-es256-2': 'active' });
    await passTime('jwt-es256-1', 66 * 60);
    await make(rotate);
    assert.deepEqual(await authorities(), { ...others, 'jwt-es256-2': 'active' });
  });

  it('the page replaces a CA whose key was stolen', async () => {
    const commands = commandsBelow('When a CA key is stolen');
    const [taint, prepare, trust, activate, evict, who, retire, remove, ...more] = commands;
    assert.deepEqual(more, []);
    const tainted = await make(taint);
    assert.match(tainted.stderr, /nothing signs in its place now; prepare another one/);
    await make(prepare);
    await make(trust);
    assert.match((await run(['ca', 'status'], { env })).stdout, /○ +\S+ +may be activated +in 6m/);
    await passTimeInBundle('ca-2', 7 * 60);
    await make(activate);
    const { 'ca-1': old, 'ca-2': next } = await authorities();
    assert.deepEqual([old, next], ['retiring, tainted', 'active']);
    assert.match((await make(evict)).stdout, /^0 of 0 pods evicted \(server dry run\), 0 blocked$/m);
    assert.match((await make(who)).stdout, /No request shows a certificate of ca-1/);
    await make(retire);
    assert.equal((await authorities())['ca-1'], 'retired, tainted');
    assert.equal(remove, 'kubespiffe ca remove ca-1');
    assert.equal((await run(['ca', 'show'], { env })).code, 0);
  });

  it('the page makes the signer accept what a person has edited', async () => {
    const [byHand] = codeBelow('By hand');
    const { stdout } = await make(byHand);
    const [, now, before] =
      /restored in namespace kubespiffe, sequence (\d+) \(the copy had (\d+)\)/.exec(stdout) ?? [];
    assert.ok(Number(now) > Number(before), stdout);
    assert.equal((await authorities())['jwt-rs256-1'], 'active, tainted');
  });

  it('the page restores pool and registrations from a backup', async () => {
    const backup = blocksOf(await readPage('docs/operations/backup.md'));
    const cwd = await mkdtemp(join(folder, 'backup-'));
    const administrator = { ...env, KUBECONFIG: controlPlane.kubeconfig, HOME: cwd };
    const follow = async (heading: string) => {
      for (const { code } of backup.filter((block) => block.heading === heading && block.language === 'sh')) {
        const ran = await run(['-euc', code], { file: '/bin/sh', cwd, env: administrator });
        assert.equal(ran.code, 0, ran.stderr);
      }
    };
    const registration = await readFile(join(checkout, 'manifests/examples/registration.yaml'), 'utf8');
    await controlPlane.kubectl(['apply', '--server-side', '-f', '-'], { input: registration });
    const before = await authorities();
    await follow('Make a backup');
    assert.equal((await stat(join(cwd, 'kubespiffe-pool.yaml'))).mode & 0o777, 0o600);

    await controlPlane.request('DELETE', poolPath);
    await controlPlane.kubectl(['delete', 'workloadregistrations', '--all', '--namespace', 'default']);
    await signerMissesPool();
    await follow('Restore');
    assert.deepEqual(await authorities(), before);
    await signer.ready();
    const left = await controlPlane.kubectl(['get', 'workloadregistrations', '-n', 'default', '-o', 'name']);
    assert.match(left, /workloadregistration.*example/);
  });

  /** As if an authority had signed, more than a day ago and not since. */
  async function expire(id: string): Promise<void> {
    await passTime(id, 25 * 3600);
    const { authorities, trustDomain } = await pool();
    const authority = authorities.find((each) => each.id === id) ?? assert.fail(id);
    const key = signedUntilKeyOf(authority, trustDomain) ?? assert.fail(id);
    const data = { [key]: writeSignedUntil(Date.now() / 1000 - 60) };
    assert.equal((await controlPlane.request('PATCH', recordPath, { data })).status, 200);
  }

  const signerMissesPool = () =>
    waitFor('the signer to miss the pool', async () => !(await signer.readiness()).ok);

  /** What the rows of the commands say that has happened. */
  async function happen(event: Meanwhile): Promise<void> {
    const { kind } = event;
    if (kind === 'propagated') return passTimeInBundle(event.id, 7 * 60);
    if (kind === 'expired') {
      for (const id of event.ids) await expire(id);
      return;
    }
    if (kind === 'nothing') {
      place = await mkdtemp(join(folder, 'commands-'));
      await signer.child.stop();
    }
    await controlPlane.request('DELETE', poolPath);
    if (kind === 'lost') return void (await signerMissesPool());
    await controlPlane.kubectl(['delete', 'clustertrustbundles', '--all']);
    await controlPlane.kubectl(['delete', 'configmaps', '--all', '--namespace', namespace]);
    signer = await startSigner({ kubeconfig });
  }

  /** Files of one pool are of no use for another. */
  let place = '';
  for (const commands of poolCommands) {
    const { page, heading, block = 0, meanwhile, after } = commands;
    it(`the commands of ${page} work, ${heading}, block ${block}`, async () => {
      if (meanwhile) await happen(meanwhile);
      const administrator = { ...env, KUBECONFIG: controlPlane.kubeconfig };
      if (after) {
        const ran = await run(['-ec', after], { file: 'sh', cwd: place, env: administrator });
        assert.equal(ran.code, 0, ran.stderr);
      }
      // Secrets of others are for administrators.
      const isOfAdministrator = after !== undefined || page.startsWith('docs/operations/');
      const KUBECONFIG = isOfAdministrator ? controlPlane.kubeconfig : (env.KUBECONFIG ?? '');
      await runCommands(commands, { env: { ...env, KUBECONFIG }, cwd: place });
    });
  }
});
