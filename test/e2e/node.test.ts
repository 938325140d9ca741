import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { findCgroups } from '../cluster/cgroups.ts';
import { runCommand } from '../cluster/command.ts';
import { startControlPlane } from '../cluster/control-plane.ts';
import { startNode } from '../cluster/node.ts';
import { toolsPod, waitForPod } from '../cluster/pods.ts';
import { waitFor } from '../cluster/process.ts';
import { stateId } from '../cluster/state-folder.ts';

const namespace = 'default';

test('two real nodes of one cluster', async (t) => {
  const controlPlane = await startControlPlane({ complete: true });
  t.after(() => controlPlane.stop());
  const first = await startNode(controlPlane);
  const second = await startNode(controlPlane);
  const pods = [
    toolsPod({ namespace, name: 'client' }, { nodeName: first.name }),
    toolsPod(
      { namespace, name: 'server' },
      { nodeName: second.name, command: ['sh', '-c', 'while true; do echo hello | nc -l -p 8080; done'] },
    ),
  ];
  for (const pod of pods) {
    assert.equal(
      (await controlPlane.request('POST', `/api/v1/namespaces/${namespace}/pods`, pod)).status,
      201,
    );
  }
  for (const name of ['client', 'server']) await waitForPod(controlPlane, { namespace, name });

  await t.test('pods on different nodes reach each other', async () => {
    const { body } = await controlPlane.request('GET', `/api/v1/namespaces/${namespace}/pods/server`);
    const answer = await waitFor('an answer of the other pod', () =>
      first.exec({ namespace, name: 'client' }, ['nc', '-w', '2', body.status.podIP, '8080']),
    );
    assert.equal(answer, 'hello\n');
  });

  await t.test('pods reach the API server by its Service', async () => {
    const answer = await waitFor('the Service', () =>
      first.exec({ namespace, name: 'client' }, [
        'sh',
        '-c',
        'echo | nc -w 2 $KUBERNETES_SERVICE_HOST 443; echo $?',
      ]),
    );
    assert.match(answer, /0\n$/);
  });

  await t.test('a volume can be read from outside', async () => {
    const { body } = await controlPlane.request('GET', `/api/v1/namespaces/${namespace}/pods/client`);
    const volume = body.spec.volumes.find(({ name }: { name: string }) => name.startsWith('kube-api-access'));
    const pod = { namespace, name: 'client' };
    assert.equal(await first.readVolumeFile(pod, volume.name, 'namespace'), namespace);
  });

  await t.test('containers go on running over a restart of kubelet', async () => {
    const path = `/api/v1/namespaces/${namespace}/pods/client`;
    const before = (await controlPlane.request('GET', path)).body.status.containerStatuses[0];
    await first.restartKubelet();
    await waitForPod(controlPlane, { namespace, name: 'client' });
    const after = (await controlPlane.request('GET', path)).body.status.containerStatuses[0];
    assert.equal(after.containerID, before.containerID);
    const command = await waitFor('the new kubelet to know the pod', () =>
      first.exec({ namespace, name: 'client' }, ['cat', '/proc/1/comm']),
    );
    assert.equal(command, 'busybox\n');
  });

  await t.test('a pod that was just started stays ready over a restart of kubelet', async () => {
    const pod = { namespace, name: 'probed' };
    const command = ['sh', '-c', 'echo probed >> /probes'];
    const made = toolsPod(pod, {
      nodeName: first.name,
      readinessProbe: { exec: { command }, periodSeconds: 1 },
    });
    const probes = async () => (await first.exec(pod, ['cat', '/probes'])).split('\n').length;
    await controlPlane.request('POST', `/api/v1/namespaces/${namespace}/pods`, made);
    await waitForPod(controlPlane, pod);
    const readySince = async () => {
      const { body } = await controlPlane.request('GET', `/api/v1/namespaces/${namespace}/pods/probed`);
      type Condition = { type: string; status: string; lastTransitionTime: string };
      return body.status.conditions.find(({ type }: Condition) => type === 'Ready') as Condition;
    };
    const before = await readySince();
    assert.equal(before.status, 'True');
    await first.restartKubelet();
    const seen = await waitFor('the new kubelet to know the pod', probes);
    await waitFor('its probes', async () => (await probes()) > seen + 2);
    assert.deepEqual(await readySince(), before);
  });
});

test('a node ends with the process that started it, even by SIGKILL, and leaves nothing on the host', async () => {
  const folder = join(import.meta.dirname, '../cluster');
  const script = `
    const { startControlPlane } = await import(${JSON.stringify(`${folder}/control-plane.ts`)});
    const { startNode } = await import(${JSON.stringify(`${folder}/node.ts`)});
    const { toolsPod, waitForPod } = await import(${JSON.stringify(`${folder}/pods.ts`)});
    const controlPlane = await startControlPlane({ complete: true });
    await startNode(controlPlane);
    const pod = { namespace: 'default', name: 'orphan' };
    await controlPlane.request('POST', '/api/v1/namespaces/default/pods', toolsPod(pod));
    await waitForPod(controlPlane, pod);
    console.log(controlPlane.dir);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const dir = await new Promise<string>((resolve) => createInterface(child.stdout).once('line', resolve));
  const id = stateId(dir);
  const cgroups = () => findCgroups(`kubespiffe-${id}`);
  const processes = async () =>
    (await runCommand('ps', '-eo', 'args')).split('\n').filter((line) => line.includes(dir));
  assert.equal((await cgroups()).length, 1);
  assert.ok((await processes()).length > 5);

  const inGroups = () =>
    runCommand(
      'sh',
      '-c',
      `find /sys/fs/cgroup -path '*kubespiffe-${id}*' -name cgroup.procs -exec cat {} + || true`,
    );

  child.kill('SIGKILL');
  await waitFor('the end of all processes, those of containers too', async () => {
    return (await processes()).length === 0 && (await inGroups()).trim() === '';
  });

  const next = await startControlPlane({ complete: true });
  await startNode(next);
  await next.stop();
  await waitFor('the removal of the cgroups', async () => (await cgroups()).length === 0);
  assert.deepEqual(await findCgroups(`kubespiffe-${stateId(next.dir)}`), []);
  const links = await runCommand('ip', '-json', 'link', 'show');
  for (const gone of [id, stateId(next.dir)]) assert.ok(!links.includes(`ks-${gone}`));
});
