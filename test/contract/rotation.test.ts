import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createAuthority, newPool } from '../../signer/authority/create.ts';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { endOf } from '../../signer/authority/transitions.ts';
import type { ClusterTrustBundle, Secret } from '../../signer/kube/types.ts';
import { rotationConditionType } from '../../signer/signers/rotation-condition.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { run } from '../tools/run.ts';
import { installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, create, createPod, createSignerPod, requestFor } from './workloads.ts';

const rotationRoles = join(import.meta.dirname, '../../manifests/rotation/rbac.yaml');
const secretPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles/kubespiffe.io:spiffe:roots';
const eventsPath = '/apis/events.k8s.io/v1/namespaces/kubespiffe/events';
const signerPath = '/api/v1/namespaces/kubespiffe/pods/signer-0';
const propagationSeconds = 3;
/** On a busy machine, replicas that are killed at every step may all be killed before they answer. */
const answerTimeoutMs = 300_000;
/** A year in half a minute. */
const flags = [
  ...['--root-propagation-delay', `${propagationSeconds}s`, '--max-lifetime', '1h'],
  ...['--ca-activate-after', '20s', '--ca-lifetime', '30h'],
];
const automatic = [...flags, '--rotation', 'automatic'];

describe('a rotation by policy', () => {
  let controlPlane: ControlPlane;
  let kubeconfig = '';
  let signers: SignerProcess[] = [];
  /** Everything that was ever issued. */
  const leaves: X509Certificate[] = [];

  before(async () => {
    controlPlane = await startControlPlane();
    // Pods of a node that does not exist would be deleted after 40 s, and their requests are never answered.
    await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
    kubeconfig = await installSigner(controlPlane);
  });
  after(async () => {
    await stopAll('SIGTERM');
    await controlPlane?.stop();
  });

  const start = async (replicaFlags: readonly string[], count = 2) => {
    signers = await Promise.all(
      Array.from({ length: count }, (_, at) =>
        startSigner({ kubeconfig, replica: `signer-${at}`, flags: replicaFlags }),
      ),
    );
  };
  const stopAll = async (signal: NodeJS.Signals) => {
    await Promise.all(signers.map(({ child }) => child.stop(signal)));
  };

  async function pool(): Promise<PoolDocument> {
    const read = readPoolDocument(
      poolJsonIn((await controlPlane.request('GET', secretPath)).body as Secret) ?? '',
    );
    assert.ok(read.ok);
    return read.document;
  }

  async function roots(): Promise<X509Certificate[]> {
    const { spec } = (await controlPlane.request('GET', bundlePath)).body as ClusterTrustBundle;
    const blocks = decodePem(spec.trustBundle);
    assert.ok(blocks.ok);
    return blocks.value.map(({ der }) => new X509Certificate(der));
  }

  const issuerOf = (leaf: X509Certificate, among: readonly X509Certificate[]) =>
    among.find((root) => leaf.checkIssued(root) && leaf.verify(root.publicKey));
  const nameOf = (root: X509Certificate) => / (ca-\d+)$/.exec(root.subject)?.[1] ?? root.subject;

  /** @returns the id of the authority that signed a new certificate, which the live bundle verifies. */
  async function issueNow(): Promise<string> {
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    const { certificateChain } = await answerTo(controlPlane, request, answerTimeoutMs);
    const leaf = new X509Certificate(certificateChain ?? '');
    leaves.push(leaf);
    const issuer = issuerOf(leaf, await roots());
    assert.ok(issuer, 'the live bundle does not verify a certificate that was issued just now');
    return nameOf(issuer);
  }

  interface Condition {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    readonly lastTransitionTime: string;
  }

  interface Event {
    readonly reason: string;
    readonly note: string;
    readonly regarding: { readonly name: string };
  }

  /** Waits for the condition of the rotation on the pod of signer-0. */
  const rotationDue = (what: string, isMet: (condition: Condition) => boolean) =>
    waitFor(what, async () => {
      const { status } = (await controlPlane.request('GET', signerPath)).body as {
        status: { conditions?: Condition[] };
      };
      const conditions = status.conditions ?? [];
      assert.ok(
        conditions.some(({ type }) => type === 'Ready'),
        'the condition of kubelet is gone',
      );
      return conditions.find((each) => each.type === rotationConditionType && isMet(each));
    });

  const states = ({ authorities }: PoolDocument) =>
    authorities
      .filter(({ kind }) => kind === 'X509')
      .map(({ id, state }) => `${id} ${state}`)
      .join(', ');

  it('the signer only reports what is due without the right to write the pool, and still signs', async () => {
    const now = Math.floor(Date.now() / 1000);
    const first = await createAuthority({ id: 'ca-2', trustDomain: 'example.org', now });
    const earlier = await createAuthority({ id: 'ca-1', trustDomain: 'example.org', now: now - 9 * 3600 });
    // Its last certificate ended just now.
    const old: AuthorityRecord = { ...earlier, state: 'retiring', deactivatedAt: rfc3339(now - 3 * 3600) };
    const key = await createJwtAuthority({ key: 'es256', now });
    await putPool(controlPlane, newPool('example.org', old, first, key));
    await createSignerPod(controlPlane, 'signer-0');
    const ofKubelet = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
    assert.equal((await controlPlane.request('PATCH', `${signerPath}/status`, ofKubelet)).status, 200);
    await start(flags);
    for (const signer of signers) await signer.ready();
    const step = (name: string, kind = 'X509') =>
      signers[0]?.metric('kubespiffe_rotation_step_timestamp_seconds', { kind, step: name });
    await waitFor('the metric', async () => ((await step('prepare')) ?? 0) > 0);
    assert.ok(((await step('prepare', 'JWT-ES256')) ?? 0) <= Date.now() / 1000);
    await waitFor('the log to say it', () =>
      signers.some(({ lines }) =>
        lines().some(({ reason, msg }) => reason === 'RotationStepDue' && /ca prepare/.test(String(msg))),
      ),
    );
    const due = await rotationDue('the condition', ({ status }) => status === 'True');
    assert.equal(due.reason, 'RotationStepDue');
    assert.match(due.message, /^Pool kubespiffe\/kubespiffe-pool: .*`kubespiffe ca prepare`/);
    await waitFor('the Event', async () => {
      const { items } = (await controlPlane.request('GET', eventsPath)).body as { items: Event[] };
      return items.some(
        ({ reason, note, regarding }) =>
          reason === 'RotationStepDue' &&
          /`kubespiffe ca prepare`/.test(note) &&
          regarding.name === 'signer-0',
      );
    });
    await stopAll('SIGTERM');
    await start(automatic);
    await waitFor('the log to say that it is forbidden', () =>
      signers.some(({ lines }) =>
        lines().some(
          ({ msg }) => /forbidden/.test(String(msg)) && /kubespiffe-rotation|secrets/.test(String(msg)),
        ),
      ),
    );
    const blocked = await rotationDue(
      'the condition to say it',
      ({ reason }) => reason === 'RotationBlocked',
    );
    assert.match(blocked.message, /forbidden/);
    assert.deepEqual([blocked.status, blocked.lastTransitionTime], ['True', due.lastTransitionTime]);
    assert.equal(await issueNow(), 'ca-2');
    assert.equal((await pool()).sequence, 1);
    for (const signer of signers) await signer.ready();
  });

  it('the signer replaces the CA twice while all replicas are killed at every step, and no certificate fails', async () => {
    await controlPlane.kubectl(['apply', '-f', rotationRoles]);
    const issued: string[] = [];
    let isOver = false;
    const issuing = (async () => {
      while (!isOver) issued.push(await issueNow());
    })();
    const verifying = (async () => {
      while (!isOver) {
        const live = await roots().catch(() => undefined);
        for (const leaf of live ? leaves : [])
          assert.ok(issuerOf(leaf, live ?? []), 'a certificate lost its root');
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    const seen: string[] = [];
    try {
      for (let sequence = 0; ; ) {
        const document = await waitFor(
          `a step after ${seen.at(-1)}`,
          async () => {
            const current = await pool();
            return current.sequence > sequence && current;
          },
          { timeoutMs: 90_000, everyMs: 50 },
        );
        sequence = document.sequence;
        seen.push(states(document));
        if (document.authorities.some(({ id, state }) => id === 'ca-4' && state === 'active')) break;
        await stopAll('SIGKILL');
        await start(automatic);
      }
    } finally {
      isOver = true;
    }
    await Promise.all([issuing, verifying]);
    await rotationDue('the condition to end', ({ status }) => status === 'False');
    const order = [...new Set(seen)];
    const activeIn = (line: string) => /ca-\d+(?= active)/.exec(line)?.[0] ?? 'none';
    assert.deepEqual([...new Set(order.map(activeIn))], ['ca-2', 'ca-3', 'ca-4'], order.join('\n'));
    assert.ok(
      order.some((each) => each.startsWith('ca-1 retired')),
      order.join('\n'),
    );
    assert.ok(issued.length > 10, `${issued.length} certificates`);
    assert.deepEqual(
      [...new Set(issued)].filter((id) => id !== 'ca-4'),
      ['ca-2', 'ca-3'],
    );
    const { authorities } = await pool();
    for (const record of authorities.filter(({ kind, state }) => kind === 'X509' && state === 'active')) {
      assert.ok((endOf(record, 'example.org') ?? 0) - Date.now() / 1000 > 29 * 3600);
    }
  });

  it('each step of a rotation has one audit line and counts once, also with several replicas', async () => {
    await waitFor('one in reserve again', async () => /ca-5 trusted/.test(states(await pool())));
    const lines = await waitFor('as many lines as steps', async () => {
      const written = signers.flatMap((signer) => signer.lines()).filter(({ event }) => event === 'rotation');
      const counts = signers.map((each) => each.metric('kubespiffe_rotation_steps_total'));
      const counted = (await Promise.all(counts)).reduce((sum, count) => sum + count);
      return written.length > 0 && written.length === counted && written;
    });
    for (const { outcome, reason, message, pool: name } of lines) {
      assert.deepEqual(
        [outcome, reason, name],
        ['Changed', 'RotationStepTaken', 'kubespiffe/kubespiffe-pool'],
      );
      assert.match(String(message), /authority (ca|jwt-es256)-\d+ .* -> /);
    }
    const file = join(controlPlane.dir, 'signer.json');
    const policy = { caActivateAfter: '20s', caLifetime: '30h', rotation: 'automatic' };
    const settings = { trustDomain: 'example.org', rootPropagationDelay: '3s', maxLifetime: '1h', ...policy };
    const header = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'SignerConfiguration' };
    await writeFile(file, JSON.stringify({ ...header, ...settings }));
    const status = await run(['ca', 'status', '--kubeconfig', controlPlane.kubeconfig, '--config', file]);
    assert.match(
      status.stdout,
      /^Next for X509: (authority ca-5 is to sign from|activate authority ca-5, which the signer does)/m,
    );
    assert.doesNotMatch(signers.map(({ output }) => output()).join(), /PRIVATE KEY/);
  });

  it('a rotation continues beside two operators who race with it, and after an outage of the API server', async () => {
    const ca = (...args: string[]) => run(['ca', ...args, '--kubeconfig', controlPlane.kubeconfig]);
    const timing = ['--propagation-delay', `${propagationSeconds}s`, '--max-lifetime', '1h'];
    // On a busy machine its successor may sign already.
    const isDone = async () => /ca-5 (active|retiring)/.test(states(await pool()));
    await controlPlane.killApiServer();
    await controlPlane.startApiServer();
    await waitFor(
      'the API server',
      async () => (await controlPlane.request('GET', secretPath)).status === 200,
    );
    const operator = async () => {
      while (!(await isDone())) {
        const ran = await ca('activate', 'ca-5', ...timing);
        if (ran.code === 0) continue;
        assert.match(
          ran.stderr,
          /changed meanwhile|may sign from|is (active|retiring), and|not in the ClusterTrustBundle yet/,
        );
      }
    };
    await Promise.all([operator(), operator()]);
    await waitFor('certificates of it or its successor', async () => (await issueNow()) >= 'ca-5');
    await waitFor('one in reserve again', async () =>
      /ca-\d active, ca-\d trusted$/.test(states(await pool())),
    );
    const live = await roots();
    for (const leaf of leaves) assert.ok(issuerOf(leaf, live));
  });
});
