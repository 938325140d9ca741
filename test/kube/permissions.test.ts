import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPermissions, type Permission } from '../../signer/kube/permissions.ts';
import { createFakeTime, settle } from './fake-time.ts';
import { type Answer, createScriptedApi } from './scripted-api.ts';

const needed: Permission[] = [
  { verb: 'list', group: '', resource: 'pods', grantedBy: 'ClusterRole a' },
  { verb: 'watch', group: '', resource: 'pods', grantedBy: 'ClusterRole a' },
  { verb: 'get', group: '', resource: 'secrets', name: 'pool', namespace: 'here', grantedBy: 'Role b' },
];

async function withPermissions(
  answer: (attributes: Omit<Permission, 'grantedBy'>) => Answer,
  body: (world: {
    permissions: ReturnType<typeof createPermissions>;
    time: ReturnType<typeof createFakeTime>;
    api: ReturnType<typeof createScriptedApi>;
    said: [level: string, message: string][];
  }) => Promise<void>,
): Promise<void> {
  const time = createFakeTime();
  const api = createScriptedApi();
  api.answer = (request) =>
    answer((request.body as { spec: { resourceAttributes: Permission } }).spec.resourceAttributes);
  const said: [string, string][] = [];
  const log = (level: string) => (_: object, message: string) => void said.push([level, message]);
  const permissions = createPermissions({
    transport: api.transport,
    needed: () => needed,
    log: { error: log('error'), warn: log('warn'), info: log('info') },
    time,
  });
  const stop = new AbortController();
  const run = permissions.run(stop.signal);
  await settle();
  await body({ permissions, time, api, said });
  stop.abort();
  await run;
  assert.equal(time.pending(), 0);
}

const review = (allowed: boolean): Answer => ({ status: 201, body: { status: { allowed } } });

test('each missing right is logged once with the role that grants it, until it is granted', () => {
  let lacks = true;
  return withPermissions(
    ({ resource }) => review(!(lacks && resource === 'pods')),
    async ({ permissions, time, said }) => {
      assert.deepEqual(permissions.missing(), needed.slice(0, 2));
      const problem = permissions.problem() ?? '';
      assert.match(
        problem,
        /^the API server forbids: list pods, watch pods \(ClusterRole a\)\. Apply the roles/,
      );
      await time.advance(20_000);
      assert.deepEqual(said, [['error', problem]]);
      lacks = false;
      await time.advance(5_000);
      assert.equal(permissions.problem(), undefined);
      assert.deepEqual(said.at(-1), ['info', 'no permission is missing any more']);
    },
  );
});

test('a right is checked by group, resource, name and namespace', () =>
  withPermissions(
    () => review(true),
    async ({ api }) => {
      const asked = api.requests.map(({ body }) => (body as { spec: object }).spec);
      assert.deepEqual(asked.at(-1), {
        resourceAttributes: { verb: 'get', group: '', resource: 'secrets', name: 'pool', namespace: 'here' },
      });
    },
  ));

test('complete rights are checked once a minute, and within a second of a forbidden call', () =>
  withPermissions(
    () => review(true),
    async ({ permissions, time, api }) => {
      const looks = () => api.requests.length / needed.length;
      assert.equal(looks(), 1);
      await time.advance(53_000);
      assert.equal(looks(), 1);
      await time.advance(8_000);
      assert.equal(looks(), 2);
      for (let call = 0; call < 100; call += 1) permissions.lookAgain();
      await time.advance(1_000);
      assert.equal(looks(), 3);
    },
  ));

test('rights are unknown until the API server answers, and the last result is kept', () => {
  let answer: Answer = 'broken';
  return withPermissions(
    () => answer,
    async ({ permissions, time, said }) => {
      assert.equal(permissions.missing(), undefined);
      assert.equal(permissions.problem(), 'cut');
      answer = review(false);
      await time.advance(5_000);
      assert.equal(permissions.missing()?.length, 3);
      answer = 'broken';
      await time.advance(10_000);
      assert.equal(permissions.missing()?.length, 3);
      assert.equal(said.filter(([level]) => level === 'warn').length, 2);
    },
  );
});

test('no right counts as missing where self reviews are forbidden', () =>
  withPermissions(
    () => ({ status: 403 }),
    async ({ permissions, said }) => {
      assert.equal(permissions.problem(), undefined);
      assert.match(said[0]?.[1] ?? '', /could not be checked/);
    },
  ));
