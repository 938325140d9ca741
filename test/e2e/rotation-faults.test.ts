import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { clusterChoices, isPatient } from './clusters.ts';
import { type Installation, signerReady, trustDomain } from './installation.ts';
import { startRequestLoop } from './request-loop.ts';
import { giveOwnClocks, signerPods } from './rotation/clock.ts';
import { killAtEachStep } from './rotation/kills.ts';
import { addEnded, caOnce, findCa, makeOld, readPool } from './rotation/pool.ts';
import { propagationSeconds, type Scene, startScene, timing } from './rotation/scene.ts';

const launcher = join(import.meta.dirname, '../../bin/kubespiffe');
const rotationRole = join(import.meta.dirname, '../../manifests/rotation/rbac.yaml');

// Three minutes, for what also has tests against a control plane alone.
const [choice] = isPatient ? clusterChoices() : [];
if (choice)
  describe(`faults during a rotation under pods that call each other, Kubernetes ${choice.name}`, () => {
    let scene: Scene;
    let installation: Installation;
    before(async () => {
      scene = await startScene(choice, {});
      ({ installation } = scene);
    });
    after(() => scene?.stop());

    it('two operators race while the replicas and both commands are killed at each step of `ca rotate`', async (t) => {
      const { controlPlane, operatorKubeconfig } = installation;
      await scene.allIsWell();
      await addEnded(installation);
      const commands: Child[] = [];
      const logFile = join(controlPlane.dir, 'operators.log');
      const start = (name: string) => {
        const command = [launcher, 'ca', 'rotate', '--wait', ...timing];
        const env = { ...process.env, KUBECONFIG: operatorKubeconfig };
        const child = startChild(name, command, { logFile, env });
        commands.push(child);
        return child;
      };
      const isDone = async () => (await findCa(installation, 'first'))?.state === 'retiring';
      /** Runs the same command until the next CA signs, and once more. */
      const operator = async (name: string) => {
        const ends: string[] = [];
        for (let wasDone = false; !wasDone || ends.at(-1) !== 'exit code 0'; ) {
          wasDone = await isDone().catch(() => false);
          ends.push(await start(name).exited);
          assert.ok(ends.length < 50, ends.join());
        }
        return ends;
      };
      const stopKilling = killAtEachStep(installation, () => {
        for (const command of commands.splice(0)) void command.stop('SIGKILL');
      });
      const operators = Promise.all(['operator-1', 'operator-2'].map(operator));
      const ends = await operators.finally(stopKilling);
      const kills = await stopKilling();
      t.diagnostic(`ends of the commands: ${JSON.stringify(ends)}`);
      t.diagnostic(`killed at: ${kills.join('; ')}`);
      const { authorities } = await readPool(installation);
      const cas = authorities.filter(({ kind }) => kind === 'X509').map(({ id, state }) => `${id} ${state}`);
      assert.deepEqual(cas, ['before retired', 'first retiring', 'ca-1 active']);
      const steps = ['before retired', 'ca-1 prepared', 'ca-1 trusted', 'ca-1 active'];
      assert.deepEqual(
        steps.filter((step) => !kills.some((each) => each.includes(step))),
        [],
      );
      await signerReady(controlPlane);
      await scene.allIsWell();
    });

    it('no certificate is signed too early while the clocks of the signer jump, and signing continues later', async (t) => {
      const { controlPlane } = installation;
      const { witness } = scene;
      await controlPlane.kubectl(['apply', '--filename', rotationRole]);
      const setClocks = await giveOwnClocks(installation, {
        KUBESPIFFE_ROTATION: 'automatic',
        KUBESPIFFE_CA_LIFETIME: '30h',
        KUBESPIFFE_CA_ACTIVATE_AFTER: '15m',
        KUBESPIFFE_CA_RETIRE_AFTER: '0s',
      });
      const seen: { ca: string; askedAtMs: number; issuedAtMs: number }[] = [];
      const loop = await startRequestLoop(controlPlane, 'other-node', (chain, askedAtMs) => {
        seen.push({ ca: witness.add(chain), askedAtMs, issuedAtMs: performance.now() });
      });
      const next = await caOnce(installation, 'trusted');
      const isActive = async () => (await findCa(installation, next.id))?.state === 'active';
      await waitFor('its root to be published', () => witness.hasSeen(next.certificate ?? ''));
      const shownAt = performance.now();
      await makeOld(installation, 'ca-1');

      const elapsed = () => (performance.now() - shownAt) / 1_000;
      const pods = await signerPods(installation);
      const until = (seconds: number) => sleep(Math.max(0, seconds - elapsed()) * 1_000);
      /** Certificates that were asked for since then. */
      const issuedSince = (ms: number) => seen.filter(({ askedAtMs }) => askedAtMs >= ms).length;
      // As far as a certificate still begins in the past and does not end too late.
      for (const [ahead, end] of [
        [60, 7],
        [-120, 14],
      ] as const) {
        await setClocks(ahead, pods);
        const since = performance.now();
        await waitFor('certificates', () => issuedSince(since) > 2);
        await until(end);
        assert.equal(await isActive(), false, `${ahead} s ahead`);
      }
      // Farther: nothing is signed, and the step is not taken when it is due.
      for (const [ahead, end] of [
        [3_600, 24],
        [-3_600, propagationSeconds + 6],
      ] as const) {
        await setClocks(ahead, pods);
        const since = performance.now() + 500;
        await until(end);
        assert.equal(issuedSince(since), 0, `${ahead} s ahead`);
        assert.equal(await isActive(), false, `${ahead} s ahead`);
      }
      await setClocks(0, pods);
      await waitFor('the next CA to be active', isActive);
      t.diagnostic(`active ${elapsed().toFixed(1)} s after its root was seen in the live bundle`);
      // One replica is wrong. The other one answers.
      await setClocks(3_600, pods.slice(0, 1));
      const name = `${trustDomain} ${next.id}`;
      await waitFor('a certificate of it', () => seen.at(-1)?.ca === name);
      // It may have been asked for long before, while the clocks were wrong.
      const first = seen.find(({ ca }) => ca === name)?.issuedAtMs ?? 0;
      assert.ok((first - shownAt) / 1_000 > propagationSeconds - 1, `${first - shownAt} ms`);
      await setClocks(0, pods);
      const { issued, failures } = await loop.stop();
      t.diagnostic(`${issued} certificates`);
      assert.deepEqual(
        failures.filter((each) => !each.startsWith('waited ')),
        [],
      );
      await scene.allIsWell(30);
    });

    it('every certificate was judged with the roots beside it, and was in the live bundle all the time', (t) => {
      t.diagnostic(`${scene.held.judged()} pairs of certificate and roots, ${scene.witness.looks()} looks`);
      assert.ok(scene.held.judged() > 5, `${scene.held.judged()}`);
      assert.ok(scene.witness.looks() > 100, `${scene.witness.looks()}`);
    });
  });
