import 'reflect-metadata';
import assert from 'node:assert/strict';
import { webcrypto, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  BasicConstraintsExtension,
  ChallengePasswordAttribute,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import { parse } from 'yaml';
import { rows } from '../../scripts/dashboard/panels.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import { explain } from '../../signer/observe/reasons.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { aPool, startInstalledSigner } from './installation.ts';
import { startPrometheus } from './prometheus.ts';
import type { SignerProcess } from './signer-process.ts';
import { answerTo, create, createPod, newRequestKey, read, requestFor, signerName } from './workloads.ts';

/** What the signer does with each kind of request on a real API server. */
describe('requests, good and bad', () => {
  let controlPlane: ControlPlane;
  let signer: SignerProcess;
  let pool: PoolDocument;

  before(async () => {
    controlPlane = await startControlPlane();
    pool = await aPool();
    signer = await startInstalledSigner(controlPlane, { pool });
  });
  after(() => controlPlane?.stop());

  const uriOf = (chain: string | undefined) => new X509Certificate(chain ?? '').subjectAltName;

  /** Waits for the log line of a decision, then makes sure that the request was left open. */
  async function leftOpen(request: PodCertificateRequest, reason: string): Promise<void> {
    const name = `${request.metadata.namespace}/${request.metadata.name}`;
    await waitFor(`${reason} for ${name}`, () =>
      signer.lines().some((line) => line.request === name && line.reason === reason),
    );
    assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
  }

  async function eventsOf(pod: Pod): Promise<{ reason: string; note: string }[]> {
    const { namespace, name } = pod.metadata;
    const answer = await controlPlane.request('GET', `/apis/events.k8s.io/v1/namespaces/${namespace}/events`);
    const { items } = answer.body as {
      items: { reason: string; note: string; regarding: { name: string } }[];
    };
    return items.filter((event) => event.regarding.name === name);
  }

  const annotated = { unverifiedUserAnnotations: { 'kubespiffe.io/uri': 'spiffe://example.org/admin' } };

  /** Events are written in their order, a little later: one that was caused after this shows that none comes. */
  async function staysWithoutEvent(pod: Pod): Promise<void> {
    const another = await createPod(controlPlane);
    await requestFor(controlPlane, another, annotated);
    await waitFor('the Event of another pod', async () => (await eventsOf(another)).length > 0);
    assert.deepEqual(await eventsOf(pod), []);
  }

  const audited = (fields: Record<string, unknown>) =>
    signer
      .lines()
      .filter((line) => line.audit && Object.entries(fields).every(([name, value]) => line[name] === value));

  it('the signer issues for a pod that is as the request says', async () => {
    const pod = await createPod(controlPlane);
    const status = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    assert.equal(status.conditions?.[0]?.type, 'Issued');
    assert.equal(uriOf(status.certificateChain), 'URI:spiffe://example.org/ns/default/sa/default');
  });

  it('the signer issues the same name for every PKCS#10 request of a pod, with any names in it', async () => {
    const wishes = [
      { name: 'CN=admin' },
      {
        extensions: [
          new SubjectAlternativeNameExtension([
            { type: 'url', value: 'spiffe://example.org/ns/kube-system/sa/root' },
          ]),
        ],
      },
      { extensions: [new BasicConstraintsExtension(true, 0, true)] },
      { attributes: [new ChallengePasswordAttribute('secret')] },
    ];
    const pod = await createPod(controlPlane);
    for (const wish of wishes) {
      const stubPKCS10Request = await newRequestKey(wish);
      const status = await answerTo(controlPlane, await requestFor(controlPlane, pod, { stubPKCS10Request }));
      const leaf = new X509Certificate(status.certificateChain ?? '');
      assert.equal(leaf.subjectAltName, 'URI:spiffe://example.org/ns/default/sa/default');
      assert.equal(leaf.subject, undefined);
      assert.equal(leaf.ca, false);
    }
  });

  for (const maxExpirationSeconds of [3600, 7_862_400]) {
    it(`the signer issues within the limits for maxExpirationSeconds ${maxExpirationSeconds}`, async () => {
      const pod = await createPod(controlPlane);
      const request = await requestFor(controlPlane, pod, { maxExpirationSeconds });
      const status = await answerTo(controlPlane, request);
      const seconds = (Date.parse(status.notAfter ?? '') - Date.parse(status.notBefore ?? '')) / 1000;
      assert.equal(seconds, Math.min(maxExpirationSeconds, 86_400));
    });
  }

  it('the signer issues for names at their length limits', async () => {
    const namespace = 'n'.repeat(63);
    const serviceAccountName = 's'.repeat(253);
    await create(controlPlane, '/api/v1/namespaces', { metadata: { name: namespace } });
    await create(controlPlane, `/api/v1/namespaces/${namespace}/serviceaccounts`, {
      metadata: { name: serviceAccountName },
    });
    const pod = await createPod(controlPlane, { namespace, serviceAccountName });
    const status = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    assert.equal(
      uriOf(status.certificateChain),
      `URI:spiffe://example.org/ns/${namespace}/sa/${serviceAccountName}`,
    );
  });

  it('the signer denies an annotation key, and the condition names it and what to do', async () => {
    const pod = await createPod(controlPlane);
    const request = await requestFor(controlPlane, pod, annotated);
    const [condition] = (await answerTo(controlPlane, request)).conditions ?? [];
    assert.equal(condition?.type, 'Denied');
    assert.equal(condition?.reason, 'InvalidUnverifiedUserAnnotations');
    assert.match(condition?.message ?? '', /"kubespiffe.io\/uri".*Correct them/);
    await waitFor('the Event', async () =>
      (await eventsOf(pod)).some(({ reason }) => reason === 'InvalidUnverifiedUserAnnotations'),
    );
  });

  // The API server counts the modulus in octets, and looks at no exponent.
  const nearlyServed: [name: string, bits: number, exponent: readonly number[], found: string][] = [
    ['exponent 3', 3072, [3], 'RSA 3072 with exponent 3'],
    ['a modulus of 3070 bits', 3070, [1, 0, 1], 'RSA 3070'],
  ];
  for (const [name, modulusLength, exponent, found] of nearlyServed) {
    it(`the signer denies an RSA key with ${name}, which the API server accepts, and names the served types`, async () => {
      const signingAlgorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
      const keys = await webcrypto.subtle.generateKey(
        { ...signingAlgorithm, modulusLength, publicExponent: Uint8Array.from(exponent) },
        true,
        ['sign', 'verify'],
      );
      const stubPKCS10Request = await newRequestKey({ keys, signingAlgorithm });
      const pod = await createPod(controlPlane);
      const request = await requestFor(controlPlane, pod, { stubPKCS10Request });
      const [condition] = (await answerTo(controlPlane, request)).conditions ?? [];
      const { type, reason, message } = condition ?? {};
      assert.deepEqual({ type, reason }, { type: 'Denied', reason: 'UnsupportedKeyType' });
      assert.equal(message, explain('UnsupportedKeyType', found));
      assert.match(message ?? '', /ECDSA P-256, ECDSA P-384, ECDSA P-521, Ed25519, RSA 3072, RSA 4096/);
      await waitFor('the Event', async () =>
        (await eventsOf(pod)).some((event) => event.reason === reason && event.note === message),
      );
    });
  }

  it('the signer drops the request of a pod that does not exist', async () => {
    const pod = await createPod(controlPlane);
    const ghost = { ...pod, metadata: { ...pod.metadata, name: 'ghost' } };
    await leftOpen(await requestFor(controlPlane, ghost), 'PodGone');
  });

  it('the signer drops the request of a pod whose name another pod has now', async () => {
    const pod = await createPod(controlPlane);
    await leftOpen(await requestFor(controlPlane, pod, { podUID: 'an-earlier-pod' }), 'PodReplaced');
    await staysWithoutEvent(pod);
  });

  const claims: [string, Partial<PodCertificateRequest['spec']>, string][] = [
    ['another ServiceAccount', { serviceAccountName: 'admin' }, 'ServiceAccountMismatch'],
    ['another node', { nodeName: 'node-2' }, 'NodeMismatch'],
  ];
  for (const [name, claim, reason] of claims) {
    it(`the signer leaves a request open that claims ${name}, without an Event on the pod, audited and counted once`, async () => {
      const pod = await createPod(controlPlane);
      await leftOpen(await requestFor(controlPlane, pod, claim), reason);
      await staysWithoutEvent(pod);
      assert.equal(audited({ reason }).length, 1);
      assert.equal(await signer.metric('kubespiffe_issuance_total', { outcome: 'wait', reason }), 1);
    });
  }

  it('the signer serves a pod that is terminating', async () => {
    const pod = await createPod(controlPlane, { finalizers: ['example.org/hold'] });
    const path = `/api/v1/namespaces/default/pods/${pod.metadata.name}`;
    await controlPlane.request('DELETE', path);
    const status = await answerTo(controlPlane, await requestFor(controlPlane, pod));
    assert.equal(status.conditions?.[0]?.type, 'Issued');
    await controlPlane.request('PATCH', path, { metadata: { finalizers: null } });
  });

  it('the signer lets a finished pod wait', async () => {
    const pod = await createPod(controlPlane);
    const path = `/api/v1/namespaces/default/pods/${pod.metadata.name}/status`;
    await controlPlane.request('PATCH', path, { status: { phase: 'Succeeded' } });
    await leftOpen(await requestFor(controlPlane, pod), 'PodFinished');
  });

  it('the signer neither reads nor changes the requests of other signers', async () => {
    const pod = await createPod(controlPlane);
    const others = await Promise.all(
      ['kubespiffe.io/spiffe-2', 'example.com/spiffe'].map((signerName) =>
        requestFor(controlPlane, pod, { signerName }),
      ),
    );
    // Its own request, made later and answered, shows that the signer has passed the others by.
    await answerTo(controlPlane, await requestFor(controlPlane, pod));
    for (const request of others) {
      assert.deepEqual((await read(controlPlane, request)).status ?? {}, {});
      assert.ok(!signer.output().includes(request.metadata.name));
    }
  });

  it('the API server refuses the name of the signer in another case', async () => {
    const pod = await createPod(controlPlane);
    await assert.rejects(
      requestFor(controlPlane, pod, { signerName: 'kubespiffe.io/Spiffe' }),
      /422.*lowercase/,
    );
  });

  it('the metrics of the signer show what it did and what waits', async () => {
    const path = '/apis/certificates.k8s.io/v1/podcertificaterequests';
    const { body } = await controlPlane.request('GET', `${path}?fieldSelector=spec.signerName=${signerName}`);
    const requests = body.items as PodCertificateRequest[];
    const answeredAs = (type: string) =>
      requests.filter(({ status }) => status?.conditions?.[0]?.type === type).length;
    const open = requests.filter(({ status }) => status?.conditions === undefined).length;
    const count = (outcome: string) => signer.metric('kubespiffe_issuance_total', { outcome });
    const latencies = (outcome: string) =>
      signer.metric('kubespiffe_issuance_latency_seconds_count', { outcome });

    assert.ok(answeredAs('Issued') > 5 && answeredAs('Denied') > 3);
    assert.equal(await count('issue'), answeredAs('Issued'));
    assert.equal(await latencies('issue'), answeredAs('Issued'));
    assert.equal(await count('deny'), answeredAs('Denied'));
    assert.equal(await latencies('deny'), answeredAs('Denied'));
    assert.equal(await count('drop'), audited({ outcome: 'Drop' }).length);
    assert.equal(await count('wait'), audited({ outcome: 'Wait' }).length);
    assert.equal(
      await signer.metric('kubespiffe_request_age_at_first_sight_seconds_count'),
      requests.length,
      'each request was seen for the first time once',
    );

    // No client waits for an answer to a dropped request.
    const waiting = open - audited({ outcome: 'Drop' }).length;
    assert.ok(waiting > 0);
    assert.equal(await signer.metric('kubespiffe_pending_requests'), waiting);
    const oldestMs = Math.min(
      ...requests.map(({ metadata }) => Date.parse(metadata.creationTimestamp ?? '')),
    );
    const oldest = await signer.metric('kubespiffe_oldest_pending_seconds');
    assert.ok(oldest > 0 && oldest <= (Date.now() - oldestMs) / 1000, `${oldest} s`);
    await waitFor('the queue to be empty', async () => (await signer.metric('kubespiffe_queue_depth')) === 0);

    const ca = new X509Certificate(pool.authorities[0]?.certificate ?? '');
    assert.equal(
      await signer.metric('kubespiffe_authority_expiry_timestamp_seconds', {
        authority: '1',
        state: 'active',
        signer: 'kubespiffe.io/spiffe',
      }),
      Date.parse(ca.validTo) / 1000,
    );
    assert.equal(await signer.metric('kubespiffe_unreadable_requests_total'), 0);
    assert.equal(await signer.metric('kubespiffe_status_rejected_total'), 0);
  });

  it('Prometheus scrapes the signer, raises an alarm and answers every query of the alerts and the dashboard', async (t) => {
    const file = join(import.meta.dirname, '../../manifests/monitoring/rules.yaml');
    const { spec } = parse(await readFile(file, 'utf8')) as { spec: { groups: { rules: object[] }[] } };
    const prometheus = await startPrometheus(signer.url, spec);
    t.after(() => prometheus.stop());

    // What is counted between two scrapes has a rate.
    const pod = await createPod(controlPlane);
    await answerTo(controlPlane, await requestFor(controlPlane, pod));
    await requestFor(controlPlane, pod, { serviceAccountName: 'admin' });
    type Alerts = { alerts: { state: string; labels: Record<string, string> }[] };
    const alarm = await waitFor('the alarm', async () => {
      const { alerts } = await prometheus.get<Alerts>('alerts');
      return alerts.find(({ labels }) => labels.alertname === 'KubespiffeRequestAlarm');
    });
    assert.equal(alarm.state, 'firing');
    assert.equal(alarm.labels.reason, 'ServiceAccountMismatch');

    const evaluated = await prometheus.get<{ groups: { rules: { health: string; lastError?: string }[] }[] }>(
      'rules',
    );
    assert.deepEqual(
      evaluated.groups.flatMap(({ rules }) => rules.map(({ health, lastError }) => lastError ?? health)),
      spec.groups.flatMap(({ rules }) => rules.map(() => 'ok')),
    );

    // The others are of what this signer does not have: a token endpoint, other trust domains, ConfigMaps, keys elsewhere.
    const full = ['Now', 'Certificates', 'API server and process'];
    // No CRDs are installed here, watches are seldom opened again, and traces are off.
    const spansPanel = 'Spans recorded and exported';
    const maybeEmpty = ['Registrations', 'Watches opened again, except by the server', spansPanel];
    const empty: string[] = [];
    for (const [row, panels] of Object.entries(rows)) {
      for (const { title, queries } of panels) {
        for (const [legend, query] of Object.entries(queries)) {
          const filled = query.replaceAll('$__rate_interval', '1m').replaceAll('$signer', '.*');
          const isEmpty = (await prometheus.count(filled)) === 0;
          if (isEmpty && full.includes(row) && !maybeEmpty.includes(title)) empty.push(`${title}: ${legend}`);
        }
      }
    }
    assert.deepEqual(empty, []);
  });

  it('the signer prints nothing secret', () => {
    assert.doesNotMatch(signer.output(), /PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\./);
  });
});
