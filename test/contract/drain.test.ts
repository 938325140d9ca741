import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { PodCertificateRequest } from '../../signer/kube/types.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { makeFullPipe } from './full-pipe.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, newRequestKey, requestFor } from './workloads.ts';

const requests = 120;

describe('a replica that gets SIGTERM', () => {
  let controlPlane: ControlPlane;
  let kubeconfig: string;
  let leaving: SignerProcess;
  let staying: SignerProcess;

  before(async () => {
    controlPlane = await startControlPlane();
    kubeconfig = await installSigner(controlPlane);
    await putPool(controlPlane, await aPool());
    leaving = await startSigner({ kubeconfig, replica: 'signer-a' });
    staying = await startSigner({ kubeconfig, replica: 'signer-b' });
    await Promise.all([leaving.ready(), staying.ready()]);
    await waitFor('both replicas to have a Lease', async () => (await leases()).length === 2);
  });
  after(() => controlPlane?.stop());

  async function leases(): Promise<string[]> {
    const path = '/apis/coordination.k8s.io/v1/namespaces/kubespiffe/leases';
    const { items } = (await controlPlane.request('GET', path)).body as {
      items: { spec: { holderIdentity: string } }[];
    };
    return items.map(({ spec }) => spec.holderIdentity);
  }

  const issuedBy = (signer: SignerProcess) =>
    signer.lines().filter((line) => line.audit === true && line.reason === 'Issued');

  it('a replica that gets SIGTERM loses nothing, ends within 5 s, and deletes its Lease', async () => {
    const pod = await createPod(controlPlane);
    const stubPKCS10Request = await newRequestKey();
    const made: Promise<PodCertificateRequest>[] = [];
    for (let i = 0; i < requests; i++) made.push(requestFor(controlPlane, pod, { stubPKCS10Request }));
    await waitFor('the first answers of the leaving replica', () => issuedBy(leaving).length > 5);

    const toldAt = performance.now();
    leaving.child.stop('SIGTERM', 20_000);
    assert.equal(await leaving.child.exited, 'exit code 0');
    assert.ok(performance.now() - toldAt < 5_500, 'it took more than 5 s to end');
    assert.deepEqual(await leases(), ['signer-b']);

    const answers = await Promise.all(
      (await Promise.all(made)).map((request) => answerTo(controlPlane, request)),
    );
    for (const { conditions } of answers) assert.equal(conditions?.[0]?.type, 'Issued');
    const audited = () => [...issuedBy(leaving), ...issuedBy(staying)];
    await waitFor('the audit lines', () => audited().length >= requests);
    const serials = audited().map((line) => line.serial);
    assert.equal(new Set(serials).size, serials.length);
    assert.equal(serials.length, requests, 'each request has exactly one audit line');
  });

  it('a replica switches debugging on and off by SIGUSR1', async () => {
    const looks = () => staying.metric('kubespiffe_api_requests_total', { verb: 'GET', resource: 'pods' });
    /** Makes a request wait: each decision has a live look at the pod, and all but the first are told as debugging. */
    const waitInVain = async () => {
      const before = await looks();
      const pod = await createPod(controlPlane);
      const { metadata } = await requestFor(controlPlane, pod, { serviceAccountName: 'another' });
      await waitFor('a repeated decision', async () => (await looks()) >= before + 3);
      return `${metadata.namespace}/${metadata.name}`;
    };
    const changeTo = async (logLevel: string) => {
      process.kill(staying.child.pid, 'SIGUSR1');
      await waitFor(`level ${logLevel}`, () => staying.lines().some((line) => line.logLevel === logLevel));
    };
    const debugged = () => staying.lines().filter(({ level }) => level === 'debug');

    await waitInVain();
    assert.deepEqual(debugged(), []);
    await changeTo('debug');
    const waiting = await waitInVain();
    await waitFor('its line', () => debugged().some(({ request }) => request === waiting));
    await changeTo('info');
    await waitInVain();
    const lines = staying.lines();
    const after = lines.slice(lines.findIndex(({ logLevel }) => logLevel === 'info'));
    assert.deepEqual(
      after.filter(({ level }) => level === 'debug'),
      [],
    );
  });

  it('a replica issues while its standard output is not read, counts dropped log lines and keeps audit lines', {
    timeout: 180_000,
  }, async (t) => {
    await staying.child.stop();
    const pipe = await makeFullPipe();
    t.after(pipe.close);
    const blocked = await startSigner({ kubeconfig, replica: 'signer-c', stdoutFile: pipe.file });
    await blocked.ready();

    // Long names make long lines: some hundred answers are then more than what is kept.
    const serviceAccountName = 'a'.repeat(253);
    await create(controlPlane, '/api/v1/namespaces/default/serviceaccounts', {
      metadata: { name: serviceAccountName },
    });
    const stubPKCS10Request = await newRequestKey();
    const uids = new Set<string | undefined>();
    // Not all at once: the API server answers 429 to too many calls of one client.
    for (let number = 0; number < 40; number++) {
      const name = `${number}-`.padEnd(253, 'p');
      const pod = await createPod(controlPlane, { name, serviceAccountName });
      const made = await Promise.all(
        Array.from({ length: 15 }, () => requestFor(controlPlane, pod, { stubPKCS10Request })),
      );
      for (const { metadata } of made) uids.add(metadata.uid);
    }
    const issued = { reason: 'Issued' };
    await waitFor(
      'all of them to be issued',
      async () => (await blocked.metric('kubespiffe_issuance_total', issued)) === uids.size,
    );
    const dropped = (stream: string) => blocked.metric('kubespiffe_output_lines_dropped_total', { stream });
    assert.ok((await dropped('log')) > 0, 'no log line was dropped: the test has too few');
    assert.equal(await dropped('audit'), 0);

    const text = await pipe.readUntil((written) => /"droppedLogLines":[1-9].*\n/.test(written));
    const lines = text
      .slice(0, text.lastIndexOf('\n'))
      .split('\n')
      .map((line) => JSON.parse(line));
    const audited = lines.filter(({ audit, reason }) => audit && reason === 'Issued');
    assert.deepEqual(new Set(audited.map(({ request }) => request.uid)), uids);
    assert.equal(audited.length, uids.size);
    await blocked.child.stop();
  });
});
