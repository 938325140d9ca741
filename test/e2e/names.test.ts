import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { waitForPod } from '../cluster/pods.ts';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { clusterChoices } from './clusters.ts';
import { applyEnvoy, envoyAnswers, envoyState } from './envoy.ts';
import {
  answersOfNewConnection,
  applyGreeter,
  greeterClientId,
  greeterClients,
  greeterPods,
  greeterServerId,
  lineOf,
} from './greeter.ts';
import { type Installation, install, trustDomain } from './installation.ts';
import { judgeHeld, judgeServer } from './judge.ts';
import { answerIn, applyMesh } from './mesh.ts';
import { openReader } from './reader.ts';
import { registerApp } from './registration.ts';
import { applyServers, helperLog, nginxAnswers, serverState, servers } from './servers.ts';
import { type Held, type Soak, startSoak } from './soak.ts';
import { readHeld, startWorkload, type WorkloadName } from './workload.ts';

/** The names that pods get of each signer, with the signer in the image and files from kubelet. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`names of pods on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;
    let judges: Judges;
    let soak: Soak;
    const early: Partial<Record<'server' | 'client', Held>> = {};

    before(async () => {
      judges = await openJudges();
      installation = await install(choice, { components: ['service-dns'] });
      await installation.createNamespace('team-a', ['db']);
      await applyMesh(installation.controlPlane);
      await applyGreeter(installation.controlPlane);
      const reader = await openReader(installation.controlPlane);
      await applyEnvoy(installation, reader);
      await applyServers(installation, reader);
      soak = await startSoak(installation);
    });
    after(async () => {
      await installation?.stop();
      await soak?.clean();
    });

    /** The SPIFFE ID that go-spiffe reads in what a pod holds. */
    async function idOf(pod: WorkloadName): Promise<string | undefined> {
      const { credentials, roots } = await readHeld(installation, pod);
      const { ECDSAP256: held = '' } = credentials;
      const verdict = await judges.x509Svid({ chain: held, bundles: { [trustDomain]: roots }, key: held });
      assert.deepEqual(verdict.errors, []);
      return verdict.facts.id;
    }
    /** Has all judges look at what a pod holds. */
    async function judge(pod: WorkloadName, id: string): Promise<string> {
      const { credentials, roots } = await readHeld(installation, pod);
      return judgeHeld(installation, judges, { id, credentials: credentials.ECDSAP256 ?? '', roots });
    }

    test('pod-identity gives a pod its own name, which go-spiffe, OpenSSL and `kubespiffe inspect` accept', async () => {
      const pod = {
        ...{ namespace: 'team-a', name: 'db-0', serviceAccount: 'db' },
        signerName: 'kubespiffe.io/pod-identity',
      };
      await startWorkload(installation, pod);
      await judge(pod, `spiffe://${trustDomain}/ns/team-a/pod/db-0`);
    });

    // Before kubelet is restarted: afterwards it removes the logs of pods that have ended.
    test('the example of a client without SPIFFE verifies a server by the DNS name of its Service', async () => {
      assert.equal(await answerIn(installation.controlPlane, 'plain-client'), 'hello anybody');
      const server = { namespace: 'mesh', name: 'shop' };
      await waitForPod(installation.controlPlane, server);
      const credentials = await installation.node.exec(server, [
        ...[
          'node',
          '-p',
          'fs.readFileSync(process.env.CREDENTIALS, "utf8").replace(/.*?KEY-----.*?KEY-----/s, "")',
        ],
      ]);
      const bundle = `/apis/certificates.k8s.io/${choice.apiVersion}/clustertrustbundles/kubespiffe.io:service-dns:roots`;
      const roots = (await installation.controlPlane.request('GET', bundle)).body.spec.trustBundle;
      const names = ['shop.mesh.svc', 'shop.mesh.svc.cluster.local'];
      await judgeServer(installation, { credentials, roots, names });
    });

    test('the example of a client with a SPIFFE ID is known to the server that it verifies by a DNS name', async () => {
      const id = `spiffe://${trustDomain}/ns/mesh/sa/spiffe-client`;
      assert.equal(await answerIn(installation.controlPlane, 'spiffe-client'), `hello URI:${id}`);
    });

    test('the example with SPIFFE IDs on both sides connects', async () => {
      const id = `spiffe://${trustDomain}/ns/mesh/sa/ledger-client`;
      assert.equal(await answerIn(installation.controlPlane, 'ledger-client'), `hello URI:${id}`);
    });

    for (const form of ['', 'sidecar-'] as const) {
      test(`the example ${form}server and ${form}client log the SPIFFE IDs of both sides`, async () => {
        const { controlPlane } = installation;
        await lineOf(controlPlane, `${form}client`, `${greeterServerId} answered ${greeterClientId}: Hello `);
        await lineOf(controlPlane, `${form}server`, `${greeterClientId} asked ${greeterServerId} to greet `);
      });
    }

    test('two pods with certificates that live 30 s begin to talk', async () => {
      await soak.for(30);
      for (const pod of ['server', 'client'] as const) early[pod] = await soak.held(pod);
    });

    test('a registration names the pods that it selects, and a running pod at its next refresh', async () => {
      const running = {
        namespace: 'team-a',
        name: 'first',
        serviceAccount: 'db',
        labels: { app: 'billing' },
      };
      await startWorkload(installation, running);
      assert.equal(await idOf(running), `spiffe://${trustDomain}/ns/team-a/sa/db`);
      await registerApp(installation.controlPlane, 'team-a', 'billing');
      const named = `spiffe://${trustDomain}/ns/team-a/app/billing`;
      const later = { ...running, name: 'second' };
      await startWorkload(installation, later);
      await judge(later, named);

      await installation.node.restartKubelet();
      const limits = { timeoutMs: 150_000, everyMs: 500 };
      await waitFor('the new name', async () => (await idOf(running)) === named, limits);
      await judge(running, named);
    });

    test('no request of the greeter fails while kubelet renews its certificates', async () => {
      const { controlPlane } = installation;
      await Promise.all(greeterPods.map((pod) => lineOf(controlPlane, pod, 'renewed: ', 150_000)));
      const reports = greeterClients.map((client) => answersOfNewConnection(controlPlane, client));
      for (const { failed } of await Promise.all(reports)) assert.deepEqual(failed, []);
    });

    test('an Envoy beside the client and one beside the server connect by SPIFFE IDs, and fail no request', async () => {
      const [client, web] = ['client', 'web'].map((name) => `spiffe://${trustDomain}/ns/envoy/sa/${name}`);
      const isGood = (line: string) =>
        line.startsWith(`200 hello, By=${web};`) && line.endsWith(`;URI=${client}`);
      try {
        await waitFor('an answer', async () => (await envoyAnswers(installation)).some(isGood));
      } catch (error) {
        throw new Error(await envoyState(installation), { cause: error });
      }
      const answers = await envoyAnswers(installation);
      assert.deepEqual(
        answers.slice(answers.findIndex(isGood)).filter((line) => !isGood(line)),
        [],
      );
    });

    for (const [name, reloaded] of Object.entries(servers)) {
      test(`the helper in the example of ${name} takes what kubelet renews, and lets the server reload it`, async () => {
        const log = () => helperLog(installation, name);
        try {
          await waitFor('the reload', async () => reloaded.test(await log()), {
            timeoutMs: 150_000,
            everyMs: 500,
          });
        } catch (error) {
          throw new Error(await serverState(installation, name), { cause: error });
        }
      });
    }

    test('no request to the example of nginx fails while kubelet renews its certificate', async () => {
      const hello = `200 hello spiffe://${trustDomain}/ns/shop/sa/web`;
      const limits = { timeoutMs: 150_000, everyMs: 500 };
      const isRenewed = (line: string) => line === 'renewed';
      await waitFor('the client', async () => (await nginxAnswers(installation)).some(isRenewed), limits);
      const before = (await nginxAnswers(installation)).length;
      await waitFor('answers', async () => (await nginxAnswers(installation)).length > before + 5, limits);
      const answers = (await nginxAnswers(installation)).filter((line) => !isRenewed(line));
      const first = answers.indexOf(hello);
      assert.notEqual(first, -1, answers.join('\n'));
      assert.deepEqual(
        answers.slice(first).filter((line) => line !== hello),
        [],
      );
    });

    test('no request of these two pods has failed after three minutes, and they need no more than at the beginning', async () => {
      await soak.for(180);
      const { answered, failed, seconds } = await soak.report();
      assert.deepEqual(failed, []);
      assert.ok(answered > seconds * 2, `${answered} answers in ${seconds} s`);
      assert.ok((await soak.rotations()) >= 5);
      for (const pod of ['server', 'client'] as const) {
        const now = await soak.held(pod);
        const before = early[pod];
        assert.ok(before);
        assert.ok(
          now.megabytes - before.megabytes < 20,
          `${pod}: ${before.megabytes} MB, then ${now.megabytes}`,
        );
        assert.ok(now.files - before.files < 5, `${pod}: ${before.files} open files, then ${now.files}`);
      }
    });
  });
}
