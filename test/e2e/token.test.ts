import 'reflect-metadata';
import assert from 'node:assert/strict';
import { mkdtemp, readFile, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose';
import { Agent, fetch } from 'undici';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import { validateJwtSvid } from '../../workload/jwt.ts';
import { connectBundleSource, connectJwtSource, connectX509Source } from '../../workload/workload-api.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { type ServerCredentials, webCredentials } from '../contract/bundle-endpoint.ts';
import { runCommands } from '../contract/page-commands.ts';
import { openPage, startBrowser } from '../contract/ui-browser.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { openPySpiffe } from '../judges/py-spiffe.ts';
import { clusterChoices } from './clusters.ts';
import {
  type CommandPod,
  certificateAudience,
  endpointId,
  endpointReached,
  fetchBundle,
  fetchCertificate,
  fetchToken,
  fetchTokenByCertificate,
  readExample,
  runCommandPod,
  runExamplePod,
} from './command-pod.ts';
import { type Installation, install, trustDomain } from './installation.ts';

const poolPath = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';
const audience = 'https://api.example.com';
const namespace = 'team-a';
const serviceAccount = 'web';
const spiffeId = `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;

/** Pods that get JWT-SVIDs with what kubelet projects into them, from the signer in the image. */
for (const choice of clusterChoices().slice(0, 1)) {
  describe(`tokens on a real kubelet, Kubernetes ${choice.name}`, () => {
    let installation: Installation;
    let judges: Judges;
    /** What the bundle endpoint of profile https_web shows at the address of the node. */
    let web: ServerCredentials;

    async function storedPool(): Promise<PoolDocument> {
      const { body } = await installation.controlPlane.request('GET', poolPath);
      return JSON.parse(poolJsonIn(body) ?? '');
    }

    before(async () => {
      judges = await openJudges();
      // With certificates for tokens, too: pods that have only a token are none the worse for it.
      const settings = [
        'KUBESPIFFE_LEAF_POD_IDENTITY=true',
        'KUBESPIFFE_TOKEN_CLIENT_CERTIFICATES=true',
        'KUBESPIFFE_X509_SVID=true',
      ];
      installation = await install(choice, {
        components: ['token-endpoint', 'roots-configmap', 'bundle-web', 'bundle-spiffe', 'view'],
        settings,
        prepare: async ({ controlPlane, node }) => {
          web = await webCredentials({ address: node.address });
          await controlPlane.request('POST', '/api/v1/namespaces/kubespiffe/secrets', {
            metadata: { name: 'kubespiffe-bundle-web' },
            type: 'kubernetes.io/tls',
            stringData: { 'tls.crt': web.cert, 'tls.key': web.key },
          });
        },
      });
      await installation.createNamespace(namespace, [serviceAccount]);
      await endpointReached(installation);
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
    async function assertSvid(token: string, verifier: string, id = spiffeId): Promise<void> {
      const fetched = await run(verifier, fetchBundle);
      assert.ok(fetched.succeeded, fetched.output);
      const bundle = { content: fetched.output, trustDomain };
      const verdict = await judges.jwtSvid({ token, audience, bundle });
      assert.deepEqual(verdict.errors, []);
      assert.equal(verdict.facts.id, id);
    }

    it('the example with curl in manifests/examples gets a token unchanged', async () => {
      const { succeeded, output } = await runExamplePod(installation, 'jwt-svid.yaml');
      assert.ok(succeeded, output);
      const { access_token: token, expires_in: seconds } = JSON.parse(output);
      assert.equal(seconds, 300);
      await assertSvid(token, 'verifier-of-example', `spiffe://${trustDomain}/ns/default/sa/default`);
    });

    it('go-spiffe and the library get all SVIDs from the Workload API of the example, in which a sidecar serves it', async () => {
      const example = await readExample('workload-api.yaml');
      const { controlPlane, node } = installation;
      await controlPlane.request('POST', '/api/v1/namespaces/default/pods', example);
      await controlPlane.kubectl(['wait', '--for=condition=Ready', 'pod/workload-api', '--timeout=120s']);
      const pod = { namespace: 'default', name: 'workload-api' };
      // A socket has at most 107 bytes of path.
      const link = join(await mkdtemp(join(tmpdir(), 'socket-')), 's');
      await symlink(await node.volumePath(pod, 'workload-api', 'socket', 'empty-dir'), link);
      const verdict = await waitFor('the keys of JWT-SVIDs', async () => {
        const asked = await judges.workloadApi({ address: `unix://${link}`, audience });
        if (!asked.ok) throw new Error(asked.errors.join());
        return asked;
      });
      const id = `spiffe://${trustDomain}/ns/default/sa/default`;
      assert.ok(verdict.facts.x509?.startsWith(`${id} `), verdict.facts.x509);
      assert.equal(verdict.facts.jwt?.trim(), id);
      assert.equal(verdict.facts.validated, id);
      const socket = `unix://${link}`;
      await using source = await connectX509Source(socket);
      await using bundles = await connectBundleSource(socket);
      const { token } = await connectJwtSource(socket).get(audience);
      assert.equal(source.svid.id.uri, id);
      assert.equal(validateJwtSvid(token, audience, bundles).id.uri, id);
      assert.match(
        await controlPlane.kubectl(['logs', 'workload-api', '-c', 'main']),
        /unix:\/\/\/run\/workload-api/,
      );
    });

    it('the web view in the cluster shows identities to a person with the right to see it, and no pool', async () => {
      const { controlPlane } = installation;
      const view = ['deployment/kubespiffe-view', '--namespace', 'kubespiffe'];
      await controlPlane.kubectl(['rollout', 'status', ...view, '--timeout=120s']);
      const blocks = blocksBelow(await readPage('docs/guides/ui.md'), 'In the cluster');
      const [account = '', binding = '', token = ''] = blocks[0]?.code.trim().split('\n') ?? [];
      const run = (line: string) => controlPlane.kubectl(line.split(' ').slice(1));
      await run(account);
      await run(binding);
      const shown = await fromPage(view, (await run(token)).trim());
      assert.equal(shown.trustDomain, trustDomain);
      assert.equal(shown.replicas.value.length, 2);
      assert.match(shown.pools[0].view.why, /cannot get resource "secrets"/);
      assert.ok(shown.bundles.length > 0);
    });

    it('the pod of the guide to the web view shows what it holds in a browser, with a decoded JWT-SVID and the registration that named it', async () => {
      const { controlPlane } = installation;
      const { kubectl } = controlPlane;
      await kubectl(['apply', '-f', join(checkout, 'manifests/examples/registration.yaml')]);
      const example = await readFile(join(checkout, 'manifests/examples/show.yaml'), 'utf8');
      const registered = example.replace('  name: show\n', '  name: show\n  labels:\n    app: example\n');
      await kubectl(['apply', '-f', '-'], { input: registered.replaceAll('# - --', '- --') });
      await kubectl(['wait', '--for=condition=Ready', 'pod/show', '--timeout=120s']);
      const url = new URL(
        await waitFor('the URL', async () => (await kubectl(['logs', 'show'])).trim() || undefined),
      );
      const command = [
        ...(controlPlane.binaries.command('kubectl') ?? []),
        'port-forward',
        'pod/show',
        ':8090',
      ];
      const logFile = join(controlPlane.logDir, 'port-forward.log');
      const forward = startChild('port-forward', [...command, `--kubeconfig=${controlPlane.kubeconfig}`], {
        logFile,
      });
      const browser = await startBrowser();
      try {
        url.port = await waitFor(
          'the port',
          () => /^Forwarding from 127\.0\.0\.1:(\d+)/m.exec(forward.lastLines(5))?.[1],
          { needs: [forward] },
        );
        const { page, wrong } = await openPage(browser, url.href);
        await page.getByRole('heading', { name: 'JWT-SVID' }).waitFor();
        const text = (await page.locator('main').textContent()) ?? '';
        assert.ok(text.includes(`spiffe://${trustDomain}/ns/default/app/example`), text);
        assert.ok(text.includes('the registration default/example'), text);
        assert.ok(text.includes('https://api.example.org'), text);
        assert.deepEqual(wrong, []);
      } finally {
        await browser.close();
        await forward.stop();
      }
    });

    /** What the page in a pod gets of its server: as through `kubectl port-forward`, from the loopback address. */
    async function fromPage(pod: readonly string[], token: string) {
      const program =
        "fetch('http://127.0.0.1:8090/api/overview', { headers: { authorization: 'Bearer ' + process.argv[1] } })" +
        '.then(async (answer) => console.log(await answer.text()))';
      const answer = await waitFor('the page', () =>
        installation.controlPlane.kubectl(['exec', ...pod, '--', 'node', '-e', program, '--', token]),
      );
      return JSON.parse(answer);
    }

    it('from outside the cluster, go-spiffe fetches the bundle over both profiles, and jose and py-spiffe take a token by the key set', async () => {
      const address = installation.node.address;
      const urlOf = async (service: string) => {
        const path = `/api/v1/namespaces/kubespiffe/services/${service}`;
        const { body } = await installation.controlPlane.request('PATCH', path, {
          spec: { type: 'NodePort' },
        });
        return `https://${address}:${body.spec.ports[0].nodePort}`;
      };
      const [webUrl, spiffeUrl] = [
        await urlOf('kubespiffe-bundle-web'),
        await urlOf('kubespiffe-bundle-spiffe'),
      ];
      const pool = await storedPool();
      const roots = await run('roots', [...fetchBundle, '--format', 'pem']);
      assert.ok(roots.succeeded, roots.output);
      const profiles = [
        [webUrl, { name: 'https_web', roots: web.cert }],
        [spiffeUrl, { name: 'https_spiffe', endpointId, bundles: { [trustDomain]: roots.output } }],
      ] as const;
      for (const [url, profile] of profiles) {
        const verdict = await waitFor(`the bundle over ${profile.name}`, async () => {
          const asked = await judges.federation({ trustDomain, url: `${url}/bundle`, profile });
          if (!asked.ok) throw new Error(asked.errors.join());
          return asked;
        });
        assert.equal(verdict.facts.sequence, String(pool.sequence));
      }

      const { output } = await run('for-libraries', fetchToken(audience));
      const token = output.trim();
      const agent = new Agent({ connect: { ca: web.cert } });
      const keys = createRemoteJWKSet(new URL(`${webUrl}/keys`), {
        [customFetch]: (target, options) =>
          fetch(target, { ...options, dispatcher: agent } as never) as unknown as Promise<Response>,
      });
      const { payload } = await jwtVerify(token, keys, { audience, issuer: 'https://id.example.org' });
      assert.equal(payload.sub, spiffeId);
      const jwks = await (await fetch(`${webUrl}/keys`, { dispatcher: agent })).text();
      const pySpiffe = await openPySpiffe();
      const verdict = await pySpiffe.judge({ trustDomain, jwks, token, audience });
      assert.deepEqual([verdict.errors, verdict.facts.id], [[], spiffeId]);
      await agent.close();
    });

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
      const { notBefore, notAfter, ...given } = JSON.parse(output);
      assert.equal(given.spiffeId, spiffeId);
      // The 10 minutes of its token at most, and 2 minutes of backdating.
      const seconds = (Date.parse(notAfter) - Date.parse(notBefore)) / 1000;
      assert.ok(seconds > 540 && seconds <= 720, `${seconds} s`);
      const refused = await run('with-the-other', fetchCertificate);
      assert.ok(!refused.succeeded);
      assert.match(refused.output, /AudienceWrong/);
    });

    it('a pod with a token for another audience gets nothing, and the answer gives the reason', async () => {
      const { succeeded, output } = await run('stranger', fetchToken(audience), { tokenAudience: 'vault' });
      assert.ok(!succeeded);
      assert.match(output, /AudienceWrong/);
      assert.doesNotMatch(output, /eyJ/);
    });

    it('a CA in preview is verified by a pod with the preview bundle, and one that is not can be taken back', async () => {
      const { kubespiffe, controlPlane } = installation;
      await controlPlane.kubectl([
        ...['create', 'rolebinding', 'preview-verifiers', '--namespace', 'kubespiffe'],
        ...['--role', 'kubespiffe-preview-verifier', '--serviceaccount', 'kubespiffe:operator'],
      ]);
      const created = async () => (await storedPool()).authorities.find(({ id }) => id === 'ca-2');
      const remove = () => kubespiffe('ca', 'remove', 'ca-2', '--force', '--reason', 'only a test');
      await kubespiffe('ca', 'prepare', '--ca-id', 'ca-2');
      await assert.rejects(
        kubespiffe('ca', 'verify-preview', 'ca-2'),
        /ca-2 is prepared, and not in preview/,
      );
      await kubespiffe('ca', 'preview', 'ca-2');
      const failing = ['--image', 'kubespiffe.io/none:dev', '--timeout', '5s'];
      await assert.rejects(
        kubespiffe('ca', 'verify-preview', 'ca-2', ...failing),
        /no pod verified the test/,
      );
      assert.equal((await created())?.verifiedAt, undefined);

      await remove();
      await kubespiffe('ca', 'prepare', '--ca-id', 'ca-2');
      const commands = { page: 'docs/reference/cli.md', heading: 'kubespiffe ca verify-preview' };
      const prints = /authority ca-2: a pod with the preview bundle verifies its certificates/;
      const env = {
        PATH: `${join(checkout, 'bin')}:${process.env.PATH}`,
        KUBECONFIG: installation.operatorKubeconfig,
      };
      await runCommands({ ...commands, prints }, { env, cwd: checkout });
      assert.ok((await created())?.verifiedAt);
      const selector = 'app.kubernetes.io/component=preview-verification';
      const jobs = `/apis/batch/v1/namespaces/kubespiffe/jobs?labelSelector=${selector}`;
      const { items } = (await controlPlane.request('GET', jobs)).body as { items: { status: object }[] };
      assert.deepEqual(items.map(({ status }) => 'succeeded' in status).sort(), [false, true]);
      await remove();
      assert.equal(await created(), undefined);
    });

    it('while the CA is tainted the Service still leads to both replicas, and a pod gets its token and the bundle', async () => {
      const { controlPlane, node } = installation;
      const pool = await storedPool();
      const authorities = pool.authorities.map((each) => ({ ...each, tainted: each.kind === 'X509' }));
      const data = serializePool({ ...pool, sequence: pool.sequence + 1, authorities });
      assert.equal((await controlPlane.request('PATCH', poolPath, { data })).status, 200);

      /** Readiness probes of the signer's pods by their result, as kubelet counts them. */
      const probes = async () => {
        const text = await controlPlane.kubectl([
          'get',
          '--raw',
          `/api/v1/nodes/${node.name}/proxy/metrics/probes`,
        ]);
        const lines = text
          .split('\n')
          .filter((line) => /kubespiffe-signer-.*probe_type="Readiness"/.test(line));
        const sum = (result: string) =>
          lines
            .filter((line) => line.includes(`result="${result}"`))
            .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
        return { good: sum('successful'), bad: sum('failed') };
      };
      const logs = ['logs', '--namespace', 'kubespiffe', '--selector', 'app.kubernetes.io/component=signer'];
      await waitFor('both replicas to see the taint', async () => {
        const text = await controlPlane.kubectl([...logs, '--tail=-1', '--prefix=false']);
        return (
          text.split('\n').filter((line) => /"check":"spiffe\/pool","ok":false.*tainted/.test(line)).length >=
          2
        );
      });
      // Three failures in a row would make a pod not ready: more probes than that, of both, and all of them good.
      const first = await probes();
      await waitFor('kubelet to ask often enough', async () => (await probes()).good >= first.good + 8);
      assert.equal((await probes()).bad, first.bad);

      const { succeeded, output } = await run('under-taint', fetchToken(audience));
      assert.ok(succeeded, output);
      await assertSvid(output.trim(), 'verifier-under-taint');
    });
  });
}
