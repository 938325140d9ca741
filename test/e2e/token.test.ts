import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { clusterChoices } from './clusters.ts';
import { type Installation, install, signerReady, trustDomain } from './installation.ts';

const manifests = join(import.meta.dirname, '../../manifests');
const host = 'kubespiffe-tokens.kubespiffe.svc';
const audience = 'https://api.example.com';
const namespace = 'team-a';
const endpointId = `spiffe://${trustDomain}/kubespiffe/token-endpoint`;
const roots = '/run/spiffe/roots.pem';
const fetchToken = [
  ...['token', '/run/spiffe/token', '--endpoint', `https://${host}/token`],
  ...['--roots', roots, '--audience', audience],
];
/** The endpoint's own SVID makes it an https_spiffe endpoint of SPIFFE Federation 5.2.2. */
const fetchBundle = [
  ...['bundle', 'fetch', `https://${host}/bundle`, '--trust-domain', trustDomain],
  ...['--profile', 'https_spiffe', '--endpoint-id', endpointId, '--endpoint-bundle', roots],
];

/** Pods that get JWT-SVIDs with what kubelet projects into them, from the signer in the image. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`tokens on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;
    let judges: Judges;

    before(async () => {
      judges = await openJudges();
      installation = await install(choice);
      const { controlPlane } = installation;
      const overlay = join(controlPlane.dir, 'tokens');
      await mkdir(overlay);
      const kustomization = {
        resources: [relative(overlay, join(manifests, 'base'))],
        components: [relative(overlay, join(manifests, 'token-endpoint'))],
        configMapGenerator: [
          {
            name: 'kubespiffe-signer',
            namespace: 'kubespiffe',
            behavior: 'merge',
            literals: ['KUBESPIFFE_JWT_ISSUER=https://id.example.org'],
          },
        ],
      };
      await writeFile(join(overlay, 'kustomization.yaml'), JSON.stringify(kustomization));
      await controlPlane.kubectl(['apply', '--kustomize', overlay]);
      await signerReady(controlPlane);
      await installation.createNamespace(namespace, ['web']);
    });
    after(() => installation?.stop());

    /** A pod that runs `kubespiffe` once with its projected files. Without cluster DNS it knows the Service's address. */
    async function runPod(
      name: string,
      args: readonly string[],
      tokenAudience: string = endpointId,
    ): Promise<{ phase: string; output: string }> {
      const { controlPlane } = installation;
      const service = await controlPlane.request(
        'GET',
        '/api/v1/namespaces/kubespiffe/services/kubespiffe-tokens',
      );
      const { clusterIP } = (service.body as { spec: { clusterIP: string } }).spec;
      const pod = {
        metadata: { name, namespace },
        spec: {
          serviceAccountName: 'web',
          automountServiceAccountToken: false,
          restartPolicy: 'Never',
          hostAliases: [{ ip: clusterIP, hostnames: [host] }],
          securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532 },
          containers: [
            {
              name: 'main',
              image: 'kubespiffe.io/kubespiffe:dev',
              imagePullPolicy: 'Never',
              args,
              volumeMounts: [{ name: 'spiffe', mountPath: '/run/spiffe', readOnly: true }],
            },
          ],
          volumes: [
            {
              name: 'spiffe',
              projected: {
                defaultMode: 0o400,
                sources: [
                  { serviceAccountToken: { audience: tokenAudience, expirationSeconds: 600, path: 'token' } },
                  {
                    clusterTrustBundle: {
                      signerName: 'kubespiffe.io/spiffe',
                      labelSelector: { matchLabels: { 'k8s.spiffe.io/canarying': 'live' } },
                      path: 'roots.pem',
                    },
                  },
                ],
              },
            },
          ],
        },
      };
      const path = `/api/v1/namespaces/${namespace}/pods`;
      const created = await controlPlane.request('POST', path, pod);
      assert.equal(created.status, 201, JSON.stringify(created.body));
      const phase = await waitFor(`the end of pod ${name}`, async () => {
        const { body } = await controlPlane.request('GET', `${path}/${name}`);
        const { status } = body as { status: { phase: string } };
        return ['Succeeded', 'Failed'].includes(status.phase) && status.phase;
      });
      return { phase, output: await controlPlane.kubectl(['logs', '--namespace', namespace, name]) };
    }

    it('a pod gets a JWT-SVID of its SPIFFE ID, which go-spiffe takes by the bundle that another pod fetches', async () => {
      const { phase, output } = await runPod('web', fetchToken);
      assert.equal(phase, 'Succeeded', output);
      const fetched = await runPod('verifier', fetchBundle);
      assert.equal(fetched.phase, 'Succeeded', fetched.output);
      const bundle = { content: fetched.output, trustDomain };
      const verdict = await judges.jwtSvid({ token: output.trim(), audience, bundle });
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.id, `spiffe://${trustDomain}/ns/${namespace}/sa/web`);
    });

    it('a pod with a token for somebody else gets nothing, and is told why', async () => {
      const { phase, output } = await runPod('stranger', fetchToken, 'vault');
      assert.equal(phase, 'Failed');
      assert.match(output, /AudienceWrong/);
      assert.doesNotMatch(output, /eyJ/);
    });
  });
}
