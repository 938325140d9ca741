import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { launcher, type Ran, run } from '../tools/run.ts';

const namespace = 'kubespiffe';

/** What the page says of changes by hand, run as it stands there by somebody with the role that we ship for it. */
describe('a pool changed by hand, as its page says', () => {
  let controlPlane: ControlPlane;
  let folder = '';
  let env: Record<string, string> = {};
  /** The changes that the page shows, between taking the pool out and putting it back; the first is shown with both. */
  let taint = '';
  let nextCa: string[] = [];
  let nextJwtKey: string[] = [];
  let addJwtKey = '';

  before(async () => {
    controlPlane = await startControlPlane();
    await controlPlane.kubectl(['apply', '--server-side', '-k', join(checkout, 'manifests/base')]);
    const operator = { namespace, name: 'operator' };
    await controlPlane.kubectl(['create', 'serviceaccount', operator.name, '--namespace', namespace]);
    await controlPlane.kubectl([
      ...['create', 'rolebinding', 'ca-operators', '--namespace', namespace],
      ...['--role=kubespiffe-ca-operator', `--serviceaccount=${namespace}:${operator.name}`],
    ]);
    folder = await mkdtemp(join(tmpdir(), 'kubespiffe-by-hand-'));
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await symlink(launcher, join(bin, 'kubespiffe'));
    const kubectl = (controlPlane.binaries.command('kubectl') ?? []).join(' ');
    await writeFile(join(bin, 'kubectl'), `#!/bin/sh\nexec ${kubectl} "$@"\n`, { mode: 0o755 });
    const kubeconfig = await controlPlane.kubeconfigFor(operator);
    env = { PATH: `${bin}:${process.env.PATH}`, KUBECONFIG: kubeconfig };
    await waitFor('the right to make the pool', async () => {
      const wishes = ['--ca-id', 'first', '--trust-domain', 'example.org'];
      return (await run(['ca', 'create', ...wishes], { env })).code === 0;
    });
    const page = await readPage('docs/reference/pool.md');
    const codeBelow = (title: string) => blocksBelow(page, title).map(({ code }) => code);
    const [whole = ''] = codeBelow('By hand');
    const [change, both] = [/^jq .*\n/m, /^jq .*\nkubespiffe ca restore .*\n/m];
    assert.match(whole, both);
    const changed = (code: string) => whole.replace(code.includes('ca restore') ? both : change, () => code);
    taint = whole;
    nextCa = codeBelow('The next CA').map(changed);
    nextJwtKey = codeBelow('The next JWT key').map(changed);
    assert.deepEqual([nextCa.length, nextJwtKey.length], [3, 2]);
    [addJwtKey = ''] = /(?<=`)kubespiffe ca add-jwt-key [^`]+/.exec(page.text) ?? [];
  });
  after(async () => {
    await controlPlane?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  async function make(change: string | undefined): Promise<Ran> {
    const cwd = join(folder, 'work');
    await mkdir(cwd, { recursive: true });
    const ran = await run(['-euc', change ?? 'false'], { file: '/bin/sh', cwd, env });
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(await readdir(cwd), [], 'a file with keys is left');
    return ran;
  }

  /** The same where it may be refused: then the files stay. */
  async function attempt(change: string | undefined): Promise<Ran> {
    const cwd = await mkdtemp(join(folder, 'attempt-'));
    return run(['-euc', change ?? 'false'], { file: '/bin/sh', cwd, env });
  }

  /** As if an authority had stopped signing, or been published, so many seconds earlier. */
  async function passTime(
    id: string,
    seconds: number,
    field: 'deactivatedAt' | 'publishedAt' = 'deactivatedAt',
  ): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/secrets/kubespiffe-pool`;
    const { body } = await controlPlane.request('GET', path);
    const document = JSON.parse(poolJsonIn(body as Secret) ?? '') as PoolDocument;
    const authorities = document.authorities.map((each) => {
      if (each.id !== id) return each;
      const at = Date.parse(each[field] ?? assert.fail(`${id} is not dated`)) - seconds * 1000;
      return { ...each, [field]: new Date(at).toISOString() };
    });
    const data = serializePool({ ...document, authorities });
    assert.equal((await controlPlane.request('PATCH', path, { data })).status, 200);
  }

  function assertRaised({ stdout }: Ran): void {
    const [, now, before] =
      /restored in namespace kubespiffe, sequence (\d+) \(the copy had (\d+)\)/.exec(stdout) ?? [];
    assert.ok(Number(now) > Number(before), stdout);
  }

  async function authorities(): Promise<Record<string, string>> {
    const { stdout } = await run(['ca', 'show', '-o', 'json'], { env });
    const shown = JSON.parse(stdout) as { authorities: { id: string; state: string; tainted: boolean }[] };
    return Object.fromEntries(
      shown.authorities.map(({ id, state, tainted }) => [id, tainted ? `${state}, tainted` : state]),
    );
  }

  it('taints a key', async () => {
    assertRaised(await make(taint));
    assert.equal((await authorities())['jwt-es256-1'], 'active, tainted');
  });

  it('brings the next CA to the pods, and has it take over', async () => {
    await make(nextCa[0]);
    const brought = { first: 'active', 'jwt-es256-1': 'active, tainted', 'jwt-rs256-1': 'active' };
    assert.deepEqual(await authorities(), { ...brought, second: 'trusted' });
    const activated = await make(nextCa[1]);
    assertRaised(activated);
    const tooSoon =
      /publishedAt: is so recent that verifiers may not have the root of authority second before 20.*make authority first active again/s;
    assert.match(activated.stderr, tooSoon);
    assert.deepEqual(await authorities(), { ...brought, first: 'retiring', second: 'active' });
    const early = await run(['ca', 'show'], { env });
    assert.equal(early.code, 1);
    assert.match(early.stdout, tooSoon);
    await passTime('second', 7 * 60, 'publishedAt');
    const shown = await run(['ca', 'show'], { env });
    assert.equal(shown.code, 0, shown.stdout);
  });

  it('takes the old CA out when the last certificate that it signed has ended, and no earlier', async () => {
    const before = await authorities();
    const early = await attempt(nextCa[2]);
    assert.equal(early.code, 1);
    assert.match(
      early.stderr,
      /^error: authority first may have signed certificates that are valid until 20.*\nhint: /,
    );
    assert.deepEqual(await authorities(), before);
    await passTime('first', 24 * 3600 + 60);
    const { stderr } = await make(nextCa[2]);
    assert.match(stderr, /^warning: authority first is dropped, as was asked for$/m);
    assert.deepEqual(await authorities(), {
      first: 'retired',
      second: 'active',
      'jwt-es256-1': 'active, tainted',
      'jwt-rs256-1': 'active',
    });
  });

  it('adds a JWT key, has it take over, and takes the old one out', async () => {
    await make(addJwtKey);
    const others = { first: 'retired', second: 'active', 'jwt-rs256-1': 'active' };
    const tainted = { ...others, 'jwt-es256-1': 'active, tainted', 'jwt-es256-2': 'trusted' };
    assert.deepEqual(await authorities(), tainted);
    assertRaised(await make(nextJwtKey[0]));
    const retiring = { ...others, 'jwt-es256-1': 'retiring, tainted', 'jwt-es256-2': 'active' };
    assert.deepEqual(await authorities(), retiring);
    assert.match(
      (await attempt(nextJwtKey[1])).stderr,
      /^error: authority jwt-es256-1 may have signed tokens/,
    );
    await passTime('jwt-es256-1', 66 * 60);
    const { stderr } = await make(nextJwtKey[1]);
    assert.match(stderr, /^warning: authority jwt-es256-1 is dropped, as was asked for$/m);
    assert.deepEqual(await authorities(), { ...others, 'jwt-es256-2': 'active' });
  });
});
