import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { waitFor } from '../cluster/process.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { clusterChoices } from './clusters.ts';
import {
  type CommandPod,
  certificateAudience,
  fetchBundle,
  fetchCertificate,
  fetchToken,
  fetchTokenByCertificate,
  runCommandPod,
} from './command-pod.ts';
import { type Installation, install, trustDomain } from './installation.ts';

const audience = 'https://api.example.com';
const namespace = 'team-a';
const serviceAccount = 'web';

/** Pods that get JWT-SVIDs with what kubelet projects into them, from the signer in the image. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`tokens on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;
    let judges: Judges;

    before(async () => {
      judges = await openJudges();
      // With certificates for tokens, too: pods that have only a token are none the worse for it.
      const settings = [
        'KUBESPIFFE_LEAF_POD_IDENTITY=true',
        'KUBESPIFFE_TOKEN_CLIENT_CERTIFICATES=true',
        'KUBESPIFFE_X509_SVID=true',
      ];
      installation = await install(choice, { components: ['token-endpoint', 'roots-configmap'], settings });
      await installation.createNamespace(namespace, [serviceAccount]);
    });
    after(() => installation?.stop());

    const run = (
      name: string,
      args: readonly string[],
      more: Pick<CommandPod, 'tokenAudience' | 'hasCertificate' | 'hasRootsConfigMap'> = {},
    ) => runCommandPod(installation, { namespace, name, serviceAccount, args, ...more });

    it('a pod gets a JWT-SVID of its SPIFFE ID, which go-spiffe takes by the bundle that another pod fetches', async () => {
      const { succeeded, output } = await run('web', fetchToken(audience));
      assert.ok(succeeded, output);
      await assertSvid(output.trim(), 'verifier');
    });

    /** By go-spiffe, with the bundle that a pod of this name fetches. */
    async function assertSvid(token: string, verifier: string): Promise<void> {
      const fetched = await run(verifier, fetchBundle);
      assert.ok(fetched.succeeded, fetched.output);
      const bundle = { content: fetched.output, trustDomain };
      const verdict = await judges.jwtSvid({ token, audience, bundle });
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.id, `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
    }

    it('a pod gets the same with the key and the certificate that kubelet made for it, and no token', async () => {
      const args = fetchTokenByCertificate(audience);
      const { succeeded, output } = await run('certified', args, { hasCertificate: true });
      assert.ok(succeeded, output);
      await assertSvid(output.trim(), 'second-verifier');
    });

    it('a pod that cannot project a bundle waits for the roots in a ConfigMap, and gets one by them', async () => {
      const args = fetchToken(audience);
      const running = run('without-bundle', args, { hasRootsConfigMap: true });
      const { kubectl, request } = installation.controlPlane;
      const events = `/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.name=without-bundle`;
      await waitFor('kubelet to miss the ConfigMap', async () => {
        const { items } = (await request('GET', events)).body as { items: { message: string }[] };
        return items.some(({ message }) => /configmap "kubespiffe-roots" not found/.test(message));
      });
      await kubectl(['label', 'namespace', namespace, 'kubespiffe.io/roots=true']);
      const { succeeded, output } = await running;
      assert.ok(succeeded, output);
      await assertSvid(output.trim(), 'third-verifier');
    });

    it('a pod gets a certificate over HTTP, for a token of the audience for that and for no other', async () => {
      const more = { tokenAudience: certificateAudience, hasRootsConfigMap: true };
      const { succeeded, output } = await run('without-projected', fetchCertificate, more);
      assert.ok(succeeded, output);
      const { spiffeId, notBefore, notAfter } = JSON.parse(output);
      assert.equal(spiffeId, `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
      // Of the 10 minutes of its token, and two that lie back.
      const seconds = (Date.parse(notAfter) - Date.parse(notBefore)) / 1000;
      assert.ok(seconds > 540 && seconds <= 720, `${seconds} s`);
      const refused = await run('with-the-other', fetchCertificate);
      assert.ok(!refused.succeeded);
      assert.match(refused.output, /AudienceWrong/);
    });

    it('a pod with a token for somebody else gets nothing, and is told why', async () => {
      const { succeeded, output } = await run('stranger', fetchToken(audience), { tokenAudience: 'vault' });
      assert.ok(!succeeded);
      assert.match(output, /AudienceWrong/);
      assert.doesNotMatch(output, /eyJ/);
    });
  });
}
