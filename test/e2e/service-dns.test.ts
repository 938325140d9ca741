import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { runCommand } from '../cluster/command.ts';
import { toolsImage } from '../cluster/image.ts';
import type { PodName } from '../cluster/node.ts';
import { waitForPod } from '../cluster/pods.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { clusterChoices } from './clusters.ts';
import { type Installation, install } from './installation.ts';

const web: PodName = { namespace: 'default', name: 'web' };
const caller: PodName = { namespace: 'default', name: 'caller' };

/** A server in our image, as it has Node: it reads its certificate at each connection. */
const program = `
const { readFileSync } = require('node:fs');
const { createSecureContext } = require('node:tls');
const context = () => {
  const pem = readFileSync('/run/certificate/credentials.pem');
  return createSecureContext({ key: pem, cert: pem });
};
const options = { SNICallback: (_name, done) => done(null, context()) };
require('node:https').createServer(options, (_request, response) => response.end('hello\\n')).listen(8443);`;

// biome-ignore lint/suspicious/noExplicitAny: objects of several kinds, changed in a few places
type Manifest = any;

for (const choice of clusterChoices()) {
  describe(`the guide of service-dns on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;

    /** The objects of a section of the guide, as a reader would apply them. */
    async function objectsOf(heading: string): Promise<Manifest[]> {
      const page = await readPage('docs/guides/service-dns.md');
      const [block] = blocksBelow(page, heading).filter(({ language }) => language === 'yaml');
      assert.ok(block);
      return parseAllDocuments(block.code).map((document) => document.toJS());
    }
    const apply = (...objects: object[]) =>
      installation.controlPlane.kubectl(['apply', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
      });
    const curl = (name: string) =>
      installation.node.exec(caller, [
        ...['curl', '--fail', '--silent', '--show-error', '--max-time', '5'],
        ...['--cacert', '/run/roots/roots.pem', `https://${name}/`],
      ]);
    const read = (pod: PodName) => installation.node.exec(pod, ['cat', '/run/certificate/credentials.pem']);

    before(async () => {
      installation = await install(choice, { components: ['service-dns'] });
      const [service, pod] = await objectsOf('A server');
      const [container] = pod.spec.containers;
      Object.assign(container, {
        image: 'kubespiffe.io/kubespiffe:dev',
        imagePullPolicy: 'Never',
        command: ['/usr/local/bin/node', '-e', program],
        readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
      });
      await apply(service, pod);
      await waitForPod(installation.controlPlane, web);
    });
    after(() => installation?.stop());

    test('curl with the roots accepts the server under the DNS name of its Service', async () => {
      const { controlPlane } = installation;
      const [pod] = await objectsOf('A client');
      // One that stays, for the tests below. The pod of the guide tries once, so the Service has to be reachable first.
      const staying = structuredClone(pod);
      Object.assign(staying.spec.containers[0], { command: ['sleep', '2147483647'] });
      await apply(staying);
      await waitForPod(controlPlane, caller);
      const hello = async () => (await curl('web.default.svc.cluster.local')) === 'hello\n';
      await waitFor('an answer of the Service', hello);

      await apply({ ...pod, metadata: { ...pod.metadata, name: 'guide' } });
      await waitFor('the end of the client', async () => {
        const { body } = await controlPlane.request('GET', '/api/v1/namespaces/default/pods/guide');
        const { phase } = body.status;
        if (phase === 'Failed') assert.fail(await controlPlane.kubectl(['logs', 'guide']));
        return phase === 'Succeeded';
      });
      assert.equal(await controlPlane.kubectl(['logs', 'guide']), 'hello\n');
    });

    test('curl refuses the server under the name of a Service that it does not have yet, and accepts it after the refresh', async () => {
      await apply({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'alias', namespace: 'default' },
        spec: { selector: { app: 'web' }, ports: [{ port: 443, targetPort: 8443 }] },
      });
      await waitFor('curl to reach the server', async () => {
        const error = await curl('alias.default.svc').then(() => 'accepted', String);
        assert.doesNotMatch(error, /^accepted/);
        return /no alternative certificate subject name matches/.test(error);
      });
      const events =
        '/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=reason=CertificateLacksNames';
      const event = await waitFor('the Event', async () => {
        const { body } = await installation.controlPlane.request('GET', events);
        return body.items[0] as { regarding: { name: string }; note: string } | undefined;
      });
      assert.equal(event.regarding.name, 'web');
      assert.match(event.note, /lacks alias\.default\.svc, alias\.default\.svc\.cluster\.local:/);

      await installation.node.restartKubelet();
      await waitFor('the next certificate', async () => (await curl('alias.default.svc')) === 'hello\n', {
        timeoutMs: 120_000,
      });
    });

    test('a member of a StatefulSet has its own DNS name, and OpenSSL accepts it for that', async () => {
      const podCertificate = {
        signerName: 'kubespiffe.io/service-dns',
        keyType: 'ED25519',
        credentialBundlePath: 'credentials.pem',
      };
      const labels = { app: 'db' };
      const metadata = { name: 'db', namespace: 'default' };
      await apply(
        {
          ...{ apiVersion: 'v1', kind: 'Service', metadata },
          spec: { clusterIP: 'None', selector: labels, ports: [{ port: 5432 }] },
        },
        {
          ...{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata },
          spec: {
            serviceName: 'db',
            replicas: 1,
            selector: { matchLabels: labels },
            template: {
              metadata: { labels },
              spec: {
                terminationGracePeriodSeconds: 0,
                containers: [
                  {
                    ...{ name: 'db', image: toolsImage, imagePullPolicy: 'Never' },
                    volumeMounts: [{ name: 'certificate', mountPath: '/run/certificate' }],
                  },
                ],
                volumes: [{ name: 'certificate', projected: { sources: [{ podCertificate }] } }],
              },
            },
          },
        },
      );
      const member: PodName = { namespace: 'default', name: 'db-0' };
      await waitForPod(installation.controlPlane, member);
      const credentials = await read(member);
      const leaf = credentials.slice(credentials.indexOf('-----BEGIN CERTIFICATE-----'));
      assert.equal(
        new X509Certificate(leaf).subjectAltName,
        ['db', 'db-0.db']
          .flatMap((name) => [`${name}.default.svc`, `${name}.default.svc.cluster.local`])
          .map((name) => `DNS:${name}`)
          .join(', '),
      );
      const files = ['leaf.pem', 'roots.pem'].map((name) => join(installation.controlPlane.dir, name));
      const roots = await installation.node.exec(caller, ['cat', '/run/roots/roots.pem']);
      await Promise.all([leaf, roots].map((text, at) => writeFile(files[at] ?? '', text)));
      const [leafFile = '', rootsFile = ''] = files;
      await runCommand(
        ...(['openssl', 'verify', '-x509_strict', '-purpose', 'sslserver'] as const),
        ...['-verify_hostname', 'db-0.db.default.svc', '-CAfile', rootsFile, leafFile],
      );
    });
  });
}
