import assert from 'node:assert/strict';
import { hash, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import type { Row } from '../../tools/doctor/run.ts';
import { runCommand } from '../cluster/command.ts';
import type { PodName } from '../cluster/node.ts';
import { toolsPod, waitForPod } from '../cluster/pods.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { run } from '../tools/run.ts';
import { clusterChoices } from './clusters.ts';
import { type Installation, install, signerReady, trustDomain } from './installation.ts';
import { judgeHeld, leafOf } from './judge.ts';
import { keyTypes, readHeld, startWorkload } from './workload.ts';

const server: PodName & { serviceAccount: string } = {
  namespace: 'team-a',
  name: 'web',
  serviceAccount: 'web',
};
const client: PodName & { serviceAccount: string } = {
  namespace: 'team-b',
  name: 'caller',
  serviceAccount: 'caller',
};
const idOf = (pod: typeof server) => `spiffe://${trustDomain}/ns/${pod.namespace}/sa/${pod.serviceAccount}`;
const auditLogExample = join(import.meta.dirname, '../../manifests/examples/audit-log.conf');
const examplePod = join(import.meta.dirname, '../../manifests/examples/pod.yaml');
const trustBundle = '/apis/certificates.k8s.io/VERSION/clustertrustbundles/kubespiffe.io:spiffe:roots';

for (const choice of clusterChoices()) {
  describe(`pods on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;
    let judges: Judges;
    let folder: string;
    const { apiVersion } = choice;
    const bundlePath = trustBundle.replace('VERSION', apiVersion);

    before(async () => {
      judges = await openJudges();
      installation = await install(choice);
      folder = await mkdtemp(join(installation.controlPlane.dir, 'judged-'));
      await installation.createNamespace(server.namespace, [server.serviceAccount]);
      await installation.createNamespace(client.namespace, [client.serviceAccount]);
      await startWorkload(installation, server, keyTypes);
      await startWorkload(installation, client);
    });

    after(() => installation?.stop());

    /** Has all judges look at what a pod holds; returns the serial number. */
    const judge = (pod: typeof server, credentials: string, roots: string) =>
      judgeHeld(installation, judges, { id: idOf(pod), credentials, roots });

    async function serialIn(pod: PodName): Promise<string> {
      const { credentials } = await readHeld(installation, pod);
      return new X509Certificate(leafOf(credentials.ECDSAP256 ?? '')).serialNumber;
    }

    test('pods with each type of key hold files that go-spiffe, OpenSSL and `kubespiffe inspect` accept', async () => {
      const held = await readHeld(installation, server, keyTypes);
      const serials = new Set<string>();
      for (const type of keyTypes) serials.add(await judge(server, held.credentials[type] ?? '', held.roots));
      assert.equal(serials.size, keyTypes.length);
      const other = await readHeld(installation, client);
      await judge(client, other.credentials.ECDSAP256 ?? '', other.roots);
      assert.equal(other.roots, held.roots);
      assert.equal(held.token.split('.').length, 3);
    });

    test('pods speak mTLS with each other by their files, and with no other peer', async () => {
      const [one, two] = [await readHeld(installation, server), await readHeld(installation, client)];
      const sides = {
        server: { credentials: one.credentials.ECDSAP256 ?? '', bundles: { [trustDomain]: one.roots } },
        client: { credentials: two.credentials.ECDSAP256 ?? '', bundles: { [trustDomain]: two.roots } },
      };
      const verdict = await judges.mtls({
        server: { ...sides.server, expects: idOf(client) },
        client: { ...sides.client, expects: idOf(server) },
      });
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.serverSaw, idOf(client));
      assert.equal(verdict.facts.clientSaw, idOf(server));
      const stranger = await judges.mtls({
        server: { ...sides.server, expects: idOf(server) },
        client: sides.client,
      });
      assert.equal(stranger.ok, false);
    });

    test('the trust bundle is one that Kubernetes validates and holds the roots that the pods see', async () => {
      const { status, body } = await installation.controlPlane.request('GET', bundlePath);
      assert.equal(status, 200);
      const verdict = await judges.clusterTrustBundle({ ...body, apiVersion: 'certificates.k8s.io/v1' });
      assert.deepEqual(verdict.errors, []);
      const { roots } = await readHeld(installation, client);
      assert.deepEqual(derOf(roots), derOf(body.spec.trustBundle));
    });

    test('a deleted trust bundle is back within seconds', async () => {
      const before = (await installation.controlPlane.request('GET', bundlePath)).body;
      await installation.controlPlane.request('DELETE', bundlePath);
      const after = await waitFor(
        'the trust bundle',
        async () => {
          const { status, body } = await installation.controlPlane.request('GET', bundlePath);
          return status === 200 && body.metadata.uid !== before.metadata.uid && body;
        },
        { timeoutMs: 30_000 },
      );
      assert.equal(after.spec.trustBundle, before.spec.trustBundle);
      assert.deepEqual(after.metadata.labels, before.metadata.labels);
    });

    /** Restarts kubelet, which asks for every certificate again, and judges what the first pods then hold. */
    async function renewFirstPods(): Promise<void> {
      const { controlPlane, node } = installation;
      const before = new Map([
        [server, await serialIn(server)],
        [client, await serialIn(client)],
      ]);
      await node.restartKubelet();
      for (const [pod, serial] of before) {
        await waitFor(`a new certificate for ${pod.name}`, async () => (await serialIn(pod)) !== serial, {
          timeoutMs: 150_000,
          everyMs: 500,
        });
        const { credentials, roots } = await readHeld(installation, pod);
        await judge(pod, credentials.ECDSAP256 ?? '', roots);
        const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
        assert.equal(
          (await controlPlane.request('GET', path)).body.status.containerStatuses[0].restartCount,
          0,
        );
      }
    }

    test('after a restart of kubelet the files change under the running pods', renewFirstPods);

    test('audit lines outlive their replica with the example of a log collector, and name the pod of a certificate', async () => {
      const { controlPlane, node } = installation;
      const kept = join(folder, 'kubespiffe-audit.log');
      const example = (await readFile(auditLogExample, 'utf8'))
        .replace('/var/log/pods/', `${node.logFolder}/pods/`)
        .replace('/var/log/kubespiffe-audit.log', kept);
      await writeFile(join(folder, 'audit.conf'), example);
      const settings = [`global(workDirectory="${folder}")`, `include(file="${folder}/audit.conf")`];
      await writeFile(join(folder, 'rsyslog.conf'), `${settings.join('\n')}\n`);
      const collector = startChild(
        'rsyslogd',
        ['rsyslogd', '-n', '-f', join(folder, 'rsyslog.conf'), '-i', join(folder, 'rsyslog.pid')],
        { logFile: join(folder, 'rsyslog.log') },
      );
      try {
        const pod = { ...client, name: 'audited' };
        await startWorkload(installation, pod);
        const serial = (await serialIn(pod)).toLowerCase();
        const [ofKept, ofRunning] = blocksBelow(
          await readPage('docs/reference/metrics.md'),
          'Which pod had a certificate',
        ).map(({ code }) => code.replace('SERIAL', serial));
        const [command = '', ...filters] = (ofRunning ?? '').replaceAll('\n', ' ').split('|');
        const logs = join(folder, 'logs');
        const answered = async (shell: string) => {
          const printed = await runCommand('sh', '-c', shell).catch(() => '');
          return printed === '' ? undefined : JSON.parse(printed);
        };
        const running = await waitFor('the replicas to answer', async () => {
          await writeFile(logs, await controlPlane.kubectl(command.trim().split(' ').slice(1)));
          return answered(`<${logs} ${filters.join('|')}`);
        });
        assert.partialDeepStrictEqual(running, { namespace: pod.namespace, pod: { name: pod.name } });
        await controlPlane.kubectl([
          'rollout',
          'restart',
          'deployment/kubespiffe-signer',
          '-n',
          'kubespiffe',
        ]);
        await signerReady(controlPlane);
        const read = (ofKept ?? '').replace('/var/log/kubespiffe-audit.log', kept);
        assert.deepEqual(await waitFor('the line that was kept', () => answered(read)), running);
        const lines = (await readFile(kept, 'utf8')).trim().split('\n');
        assert.ok(lines.every((line) => JSON.parse(line).audit === true));
      } finally {
        await collector.stop();
      }
    });

    test('new pods get certificates after the signer was replaced', async () => {
      await installation.controlPlane.kubectl([
        ...['rollout', 'restart', 'deployment/kubespiffe-signer', '--namespace', 'kubespiffe'],
      ]);
      const during = { ...client, name: 'during-rollout' };
      await startWorkload(installation, during);
      await signerReady(installation.controlPlane);
      const later = { ...client, name: 'after-rollout' };
      await startWorkload(installation, later);
      for (const pod of [during, later]) {
        const { credentials, roots } = await readHeld(installation, pod);
        await judge(pod, credentials.ECDSAP256 ?? '', roots);
      }
    });

    test('new pods get certificates after all replicas were killed at once', async () => {
      await installation.controlPlane.kubectl([
        ...[
          'delete',
          'pods',
          '--namespace',
          'kubespiffe',
          '--selector',
          'app.kubernetes.io/component=signer',
        ],
        ...['--grace-period=0', '--force'],
      ]);
      const pod = { ...client, name: 'after-kill' };
      await startWorkload(installation, pod);
      const { credentials, roots } = await readHeld(installation, pod);
      await judge(pod, credentials.ECDSAP256 ?? '', roots);
      await signerReady(installation.controlPlane);
    });

    test('new pods get certificates after a kill -9 of the API server', async () => {
      await installation.controlPlane.killApiServer();
      await installation.controlPlane.startApiServer();
      const pod = { ...client, name: 'after-api-server' };
      await startWorkload(installation, pod);
      const { credentials, roots } = await readHeld(installation, pod);
      await judge(pod, credentials.ECDSAP256 ?? '', roots);
    });

    test(
      'after the restart of everything the files of the first pods still change, and are good',
      renewFirstPods,
    );

    test('the example of a pod runs unchanged, and its user can read the files', async () => {
      const example = { namespace: 'default', name: 'example', serviceAccount: 'default' };
      await installation.controlPlane.kubectl(['apply', '-f', examplePod]);
      await waitForPod(installation.controlPlane, example);
      const run = (...command: string[]) => installation.node.exec(example, command);
      assert.equal((await run('id', '-u')).trim(), '1000');
      const read = (file: string) => run('cat', `/run/spiffe/${file}`);
      await judge(example, await read('credentials.pem'), await read('roots.pem'));
      assert.equal((await read('token')).split('.').length, 3);
      const log = await installation.controlPlane.kubectl(['logs', example.name]);
      for (const file of ['credentials.pem', 'roots.pem', 'token'])
        assert.match(log, new RegExp(` ${file}$`, 'm'));
    });

    test('the volume on the page about csi-driver-spiffe has the same files, which are good', async () => {
      const { namespace, serviceAccount } = server;
      const pod = { namespace, name: 'moved', serviceAccount };
      const blocks = blocksBelow(
        await readPage('docs/coming-from/csi-driver-spiffe.md'),
        'Migrate without downtime',
      );
      const yaml = blocks.find(({ language }) => language === 'yaml')?.code ?? '';
      const mountPath = '/var/run/secrets/spiffe.io';
      const object = toolsPod(
        { namespace, name: pod.name },
        {
          serviceAccountName: serviceAccount,
          ...parse(yaml.replaceAll('my.trust.domain', trustDomain)),
          volumeMounts: [{ name: 'spiffe', mountPath, readOnly: true }],
        },
      );
      const created = await installation.controlPlane.request(
        'POST',
        `/api/v1/namespaces/${namespace}/pods`,
        object,
      );
      assert.equal(created.status, 201, JSON.stringify(created.body));
      await waitForPod(installation.controlPlane, pod);
      const read = (file: string) => installation.node.exec(pod, ['cat', `${mountPath}/${file}`]);
      await judge(pod, `${await read('tls.key')}${await read('tls.crt')}`, await read('ca.crt'));
    });

    test('the events of a pod give the reason when its request is denied', async () => {
      const pod = { namespace: client.namespace, name: 'annotated' };
      const podCertificate = {
        signerName: 'kubespiffe.io/spiffe',
        keyType: 'ECDSAP256',
        credentialBundlePath: 'credentials.pem',
        userAnnotations: { 'example.org/wish': 'another name' },
      };
      const volumes = [{ name: 'spiffe', projected: { sources: [{ podCertificate }] } }];
      const volumeMounts = [{ name: 'spiffe', mountPath: '/run/spiffe' }];
      await installation.controlPlane.request(
        'POST',
        `/api/v1/namespaces/${pod.namespace}/pods`,
        toolsPod(pod, { volumes, volumeMounts }),
      );
      const events = await waitFor('kubelet to tell of the denial', async () => {
        const told = await installation.controlPlane.kubectl([
          ...[
            'get',
            'events',
            '--namespace',
            pod.namespace,
            '--field-selector',
            `involvedObject.name=${pod.name}`,
          ],
          ...['--output', 'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}'],
        ]);
        return told.includes('permanently denied') && told;
      });
      assert.match(events, /^Denied: .*reason="InvalidUnverifiedUserAnnotations"/m);
      assert.match(events, /example\.org\/wish/);
    });

    test('doctor reports a pod that was refused by the Events of its kubelet, after the request is deleted', async () => {
      const { controlPlane } = installation;
      const requestVersion = choice.betaApis ? 'v1beta1' : apiVersion;
      const requests = `/apis/certificates.k8s.io/${requestVersion}/namespaces/${client.namespace}/podcertificaterequests`;
      const { items } = (await controlPlane.request('GET', requests)).body;
      const own = items.filter(({ spec }: PodCertificateRequest) => spec.podName === 'annotated');
      assert.ok(own.length > 0);
      for (const { metadata } of own) await controlPlane.request('DELETE', `${requests}/${metadata.name}`);
      const events = `/apis/events.k8s.io/v1/namespaces/${client.namespace}/events?fieldSelector=reportingController=kubespiffe.io/signer`;
      await controlPlane.request('DELETE', events);
      const ran = await run(['doctor', '--kubeconfig', controlPlane.kubeconfig, '-o', 'json']);
      const { rows } = JSON.parse(ran.stdout) as { rows: Row[] };
      const row = rows.find(({ check, result }) => check === 'refreshes' && result === 'problem');
      assert.match(row?.lookedAt ?? '', /^Pod team-b\/annotated/);
      assert.match(
        row?.found ?? '',
        /^refused, .* \((Denied|FailedMount)\): it cannot start\. .*example\.org\/wish/,
      );
    });

    test('only kubelet can create requests, not even the cluster administrator', async () => {
      const requestVersion = choice.betaApis ? 'v1beta1' : apiVersion;
      const { status, body } = await installation.controlPlane.request(
        'POST',
        `/apis/certificates.k8s.io/${requestVersion}/namespaces/${server.namespace}/podcertificaterequests`,
        await copyOfRequest(installation, requestVersion),
      );
      assert.equal(status, 403);
      assert.match(body.message, /only kubelets may create PodCertificateRequests/);
    });

    test('the pods of the signer say beside the conditions of kubelet that a rotation is due, by the command of its page', async () => {
      const { controlPlane } = installation;
      const [block] = blocksBelow(await readPage('docs/reference/outcomes.md'), 'Of rotation');
      const words = (block?.code ?? '').replaceAll('\\\n', ' ').replaceAll("'", '').trim().split(/\s+/);
      const said = await waitFor(
        'the condition',
        async () => {
          const messages = await controlPlane.kubectl(words.slice(1));
          return /`kubespiffe ca prepare`/.test(messages) && messages;
        },
        { timeoutMs: 30_000 },
      );
      assert.match(said, /^Pool kubespiffe\/kubespiffe-pool: A step of the rotation is due/);
      const at = ['pods', '--namespace', 'kubespiffe', '--selector', 'app.kubernetes.io/component=signer'];
      await controlPlane.kubectl(['wait', ...at, '--for=condition=Ready', '--timeout=120s']);
      await controlPlane.kubectl([
        'wait',
        ...at,
        '--for=condition=kubespiffe.io/RotationDue',
        '--timeout=120s',
      ]);
    });

    test('kubespiffe is on the PATH of the signer, for kubectl exec', async () => {
      const signer = ['--namespace', 'kubespiffe', 'deployment/kubespiffe-signer'];
      const printed = await installation.controlPlane.kubectl([
        ...['exec', ...signer, '--', 'kubespiffe', 'version'],
      ]);
      assert.match(printed, /^kubespiffe \d+\.\d+\.\d+ /);
    });

    test('a signer logs at debug after the signal that its page describes, and no more after the second one', async () => {
      const { kubectl } = installation.controlPlane;
      const inNamespace = ['--namespace', 'kubespiffe'];
      const signers = [...inNamespace, '--selector', 'app.kubernetes.io/component=signer'];
      const pod = await kubectl(['get', 'pods', ...signers, '-o', 'jsonpath={.items[0].metadata.name}']);
      const [block] = blocksBelow(await readPage('docs/reference/metrics.md'), 'Log');
      const [, program = ''] =
        /^kubectl --namespace kubespiffe exec POD -- node -e '(.+)'$/m.exec(block?.code ?? '') ?? [];
      const switched = async () => {
        const logs = await kubectl(['logs', ...inNamespace, pod]);
        return [...logs.matchAll(/"logLevel":"(\w+)","msg":"log level changed"/g)].map(([, level]) => level);
      };
      for (const expected of [['debug'], ['debug', 'info']]) {
        await kubectl(['exec', ...inNamespace, pod, '--', 'node', '-e', program]);
        await waitFor(`the log level to be ${expected.at(-1)}`, async () => {
          const seen = await switched();
          return seen.length === expected.length && seen.every((level, index) => level === expected[index]);
        });
      }
    });

    /** What the replicas that run now have written. */
    const signerLogs = () =>
      installation.controlPlane.kubectl([
        ...['logs', '--namespace', 'kubespiffe', '--selector', 'app.kubernetes.io/component=signer'],
        ...['--tail=-1', '--prefix=false'],
      ]);

    /**
     * The requests that these replicas have answered with a certificate since their containers started: others took
     * their logs with them.
     */
    async function issuedNow(): Promise<PodCertificateRequest[]> {
      const signers = await installation.controlPlane.request(
        'GET',
        '/api/v1/namespaces/kubespiffe/pods?labelSelector=app.kubernetes.io/component=signer',
      );
      const startOf = ({ metadata, status }: SignerPod) =>
        [metadata.name, status.containerStatuses[0].state.running?.startedAt ?? '9999'] as const;
      const startedAt = new Map<string, string>(signers.body.items.map(startOf));
      const path = `/apis/certificates.k8s.io/${apiVersion}/podcertificaterequests`;
      const requests = (await installation.controlPlane.request('GET', path)).body.items;
      return requests.filter(
        ({ status, metadata }: PodCertificateRequest & { metadata: { managedFields: WrittenFields[] } }) =>
          status?.certificateChain &&
          metadata.managedFields.some(
            ({ subresource, manager, time }) =>
              subresource === 'status' && time > (startedAt.get(manager) ?? '9999'),
          ),
      );
    }

    test('each certificate left one audit line with its pod and its key, and no key is in any log', async () => {
      const requests = await issuedNow();
      assert.ok(requests.length > keyTypes.length, `${requests.length} certificates`);
      const serials = new Map(
        requests.map(({ metadata, status }) => [
          metadata.uid,
          new X509Certificate(leafOf(status?.certificateChain ?? '')).serialNumber.toLowerCase(),
        ]),
      );
      // The line comes once the API server has confirmed the certificate. Requests are cleaned up after a quarter of an
      // hour, so that there may be lines of others as well.
      const lines = await waitFor('the audit lines', async () => {
        const audited = (await signerLogs())
          .split('\n')
          .filter((line) => line.includes('"audit":true'))
          .map((line) => JSON.parse(line))
          .filter(({ reason, request }) => reason === 'Issued' && serials.has(request.uid));
        return audited.length >= serials.size && audited;
      });
      assert.deepEqual(lines.map(({ request, serial }) => [request.uid, serial]).sort(), [...serials].sort());

      const { namespace, name, serviceAccount } = client;
      const { credentials } = await readHeld(installation, client);
      const leaf = new X509Certificate(leafOf(credentials.ECDSAP256 ?? ''));
      const objectAt = async (path: string) =>
        (await installation.controlPlane.request('GET', `/api/v1/${path}`)).body;
      const pod = await objectAt(`namespaces/${namespace}/pods/${name}`);
      const { metadata: node } = await objectAt(`nodes/${pod.spec.nodeName}`);
      const account = await objectAt(`namespaces/${namespace}/serviceaccounts/${serviceAccount}`);
      const serial = leaf.serialNumber.toLowerCase();
      const { time, replica, request, message, ...line } = lines.find((one) => one.serial === serial);
      assert.equal(serials.get(request.uid), serial);
      assert.deepEqual(line, {
        level: 'info',
        audit: true,
        event: 'pod-certificate',
        outcome: 'Issued',
        reason: 'Issued',
        signer: 'kubespiffe.io/spiffe',
        namespace,
        pod: { name, uid: pod.metadata.uid },
        serviceAccount: { name: serviceAccount, uid: account.metadata.uid },
        node: { name: node.name, uid: node.uid },
        spiffeId: idOf(client),
        serial,
        publicKeySha256: hash('sha256', leaf.publicKey.export({ type: 'spki', format: 'der' }), 'hex'),
        authority: 'first',
        notBefore: leaf.validFromDate.getTime() / 1000,
        notAfter: leaf.validToDate.getTime() / 1000,
      });
      assert.doesNotMatch(await signerLogs(), /PRIVATE KEY|eyJhbGciOi/);
    });
  });
}

/** What the API server records of the writer of a part of an object. */
interface WrittenFields {
  readonly manager: string;
  readonly subresource?: string;
  /** RFC 3339, in UTC and whole seconds, so that two of them compare as text. */
  readonly time: string;
}

interface SignerPod {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly containerStatuses: readonly [
      { readonly state: { readonly running?: { readonly startedAt: string } } },
    ];
  };
}

function derOf(roots: string): string[] {
  const blocks = roots.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).fingerprint256).sort();
}

/** One of kubelet's own requests, as another client might send it again. */
async function copyOfRequest({ controlPlane }: Installation, apiVersion: string): Promise<object> {
  const path = `/apis/certificates.k8s.io/${apiVersion}/namespaces/${server.namespace}/podcertificaterequests`;
  const { body } = await controlPlane.request('GET', path);
  return { metadata: { generateName: 'copy-' }, spec: body.items[0].spec };
}
