import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { Pod, PodCertificateRequest } from '../../signer/kube/types.ts';
import type { CollectedSpan, Collector } from '../cluster/collector.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { type TokenSigner, tokenFor, x509Audience } from './token-endpoint.ts';
import { answerTo, createPod, newRequestKey, requestFor } from './workloads.ts';

const audience = 'https://api.example.com';
/** The headers of callers, by whether they record their trace. */
const callers = {
  sampled: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  notSampled: '00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-00',
};
const idIn = (traceparent: string) => traceparent.split('-')[1] ?? '';

interface Parts {
  readonly controlPlane: ControlPlane;
  /** A signer that answers alone, with traces and X509-SVIDs over HTTP. */
  readonly endpoint: TokenSigner;
  readonly collector: Collector;
}

/** The traces of a signer, as OpenTelemetry's own collector gets them. */
export function describeTraces(parts: () => Parts): void {
  describe('the traces of a signer', () => {
    let pod: Pod;
    let request: PodCertificateRequest;
    let waiting: PodCertificateRequest;

    const exchangeAs = async (traceparent: string, token?: string) => {
      const { controlPlane, endpoint } = parts();
      return endpoint.call({
        method: 'POST',
        path: '/jwt-svid',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${token ?? (await tokenFor(controlPlane, pod))}`,
          traceparent,
        },
        body: JSON.stringify({ audience }),
      });
    };
    /** The first span of a trace, then its steps in their order. */
    const traceOf = (id: string) =>
      waitFor(`the trace ${id}`, async () => {
        const spans = (await parts().collector.spans()).filter(({ traceId }) => traceId === id);
        const root = spans.find(({ name }) => /^(PodCertificateRequest|POST )/.test(name));
        if (!root) return undefined;
        const steps = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId);
        return { root, steps: steps.toSorted((a, b) => start(a) - start(b)) };
      });
    const start = (span: CollectedSpan) => Number(BigInt(span.startTimeUnixNano) / 1000n);
    const end = (span: CollectedSpan) => Number(BigInt(span.endTimeUnixNano) / 1000n);
    const auditedWith = (member: string, value: unknown) =>
      waitFor(`an audit line with ${member}`, () =>
        parts()
          .endpoint.signer.lines()
          .find((line) => line.audit && (line[member] as { uid?: string })?.uid === value),
      );
    const traceIdOf = ({ metadata }: PodCertificateRequest) => String(metadata.uid).replaceAll('-', '');

    before(async () => {
      const { controlPlane, endpoint } = parts();
      pod = await createPod(controlPlane);
      request = await requestFor(controlPlane, pod);
      await answerTo(controlPlane, request);
      waiting = await requestFor(controlPlane, pod, { serviceAccountName: 'another' });
      assert.equal((await exchangeAs(callers.notSampled)).status, 200);
      assert.equal((await exchangeAs(callers.sampled)).status, 200);
      const token = await tokenFor(controlPlane, pod, { audiences: [x509Audience] });
      const csr = Buffer.from(await newRequestKey(), 'base64');
      assert.equal((await endpoint.certify(token, csr)).status, 200);
    });

    it('a trace has the UID of a PodCertificateRequest as id, and a span for each step', async () => {
      const { root, steps } = await traceOf(traceIdOf(request));
      assert.deepEqual(
        steps.map(({ name }) => name),
        ['decide', 'sign', 'write'],
      );
      assert.deepEqual([root.parentSpanId, root.kind, root.status.code ?? 0], ['', 1, 0]);
      assert.partialDeepStrictEqual(root.attributes, {
        'k8s.namespace.name': 'default',
        'k8s.pod.name': pod.metadata.name,
        'k8s.pod.uid': pod.metadata.uid,
        'kubespiffe.request.name': request.metadata.name,
        'kubespiffe.signer': 'kubespiffe.io/spiffe',
        'kubespiffe.outcome': 'issue',
        'kubespiffe.reason': 'Issued',
        'kubespiffe.spiffe_id': 'spiffe://example.org/ns/default/sa/default',
      });
      assert.partialDeepStrictEqual(root.resource, {
        'service.name': 'kubespiffe-signer',
        'service.instance.id': 'signer-a',
      });
      assert.equal((await auditedWith('request', request.metadata.uid)).traceId, root.traceId);
    });

    it('a trace shows when each step was, one after the other, and within the whole', async () => {
      const { root, steps } = await traceOf(traceIdOf(request));
      let at = start(root);
      for (const step of steps) {
        assert.ok(at <= start(step) && start(step) <= end(step), step.name);
        at = end(step);
      }
      assert.ok(at <= end(root));
      // Whole seconds by the API server's clock, which is that of this machine.
      const createdAt = Date.parse(request.metadata.creationTimestamp ?? '') * 1000;
      assert.ok(start(root) >= createdAt && start(root) < createdAt + 10e6);
    });

    it('a trace shows as an error why a request waits', async () => {
      const { root } = await traceOf(traceIdOf(waiting));
      assert.equal(root.attributes['kubespiffe.reason'], 'ServiceAccountMismatch');
      assert.equal(root.status.code, 2);
      const { message } = await auditedWith('request', waiting.metadata.uid);
      assert.equal(root.status.message, message);
    });

    it('a trace continues that of a caller of the token endpoint, which decides whether it is recorded', async () => {
      const { root, steps } = await traceOf(idIn(callers.sampled));
      assert.deepEqual([root.name, root.kind], ['POST /jwt-svid', 2]);
      assert.equal(root.parentSpanId, callers.sampled.split('-')[2]);
      assert.deepEqual(
        steps.map(({ name }) => name),
        ['authenticate', 'decide', 'sign'],
      );
      assert.partialDeepStrictEqual(root.attributes, {
        'http.request.method': 'POST',
        'http.route': '/jwt-svid',
        'client.address': '127.0.0.1',
        'k8s.pod.uid': pod.metadata.uid,
        'kubespiffe.reason': 'Issued',
      });
      const spans = await parts().collector.spans();
      assert.ok(!spans.some(({ traceId }) => traceId === idIn(callers.notSampled)));
    });

    it('a trace begins at the endpoint if the caller has none, and names the reason of a refusal', async () => {
      const answer = await exchangeAs('00-not-a-traceparent', 'not-a-token');
      assert.equal(answer.status, 400, answer.text);
      const found = await waitFor('both traces', async () => {
        const spans = await parts().collector.spans();
        const issued = spans.find(
          ({ name, attributes }) =>
            name === 'POST /x509-svid' && attributes['k8s.pod.uid'] === pod.metadata.uid,
        );
        const refused = spans.find(
          ({ attributes }) => attributes['kubespiffe.reason'] === answer.json.reason,
        );
        return issued && refused && { issued, refused };
      });
      assert.equal(found.refused.parentSpanId, '');
      assert.deepEqual(found.refused.status, { message: answer.json.error_description, code: 2 });
      const { steps } = await traceOf(found.issued.traceId);
      assert.deepEqual(
        steps.map(({ name }) => name),
        ['authenticate', 'decide', 'sign'],
      );
    });

    it('traces delay nothing while the collector is away, and are sent again when it is back', async () => {
      const { controlPlane, endpoint, collector } = parts();
      const token = await tokenFor(controlPlane, pod);
      await collector.stop();
      const startedAt = performance.now();
      for (let count = 0; count < 50; count += 1) assert.equal((await endpoint.exchange(token)).status, 200);
      await answerTo(controlPlane, await requestFor(controlPlane, pod));
      assert.ok(performance.now() - startedAt < 5_000);
      const logged = (message: string) =>
        waitFor(`a line "${message}"`, () => endpoint.signer.lines().find(({ msg }) => msg === message));
      const { level } = await logged(
        'the collector does not accept traces; certificates and tokens are still issued',
      );
      assert.equal(level, 'warn');
      await collector.start();
      await exchangeAs('00-cccccccccccccccccccccccccccccccc-00f067aa0ba902b7-01', token);
      await traceOf('c'.repeat(32));
      await logged('the collector accepts traces again');
      const spans = (outcome: string) => endpoint.signer.metric('kubespiffe_spans_total', { outcome });
      assert.ok((await spans('exported')) < (await spans('recorded')));
    });
  });
}
