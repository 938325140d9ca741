import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { create } from '../contract/workloads.ts';

const manifests = join(import.meta.dirname, '../../manifests');
/** The component, with the API of MutatingAdmissionPolicies as docs/guides/injection.md has it for older API servers. */
async function componentWith(mutatingApi: 'v1' | 'v1beta1'): Promise<string> {
  const files = ['parameters', 'injection-policy', 'refusal-policy'].map((name) =>
    readFile(join(manifests, 'injection', `${name}.yaml`), 'utf8'),
  );
  return (await Promise.all(files))
    .join('\n---\n')
    .replace(/^(apiVersion: admissionregistration\.k8s\.io)\/v1$(?=\nkind: Mutating)/gm, `$1/${mutatingApi}`);
}
const parameters = '/api/v1/namespaces/kubespiffe/configmaps/kubespiffe-injection';

// biome-ignore lint/suspicious/noExplicitAny: pods, looked into as each test needs
type Pod = any;

// As Kubernetes reads YAML: 0400 is an octal number.
const exampleOf = async (name: string): Promise<Pod> =>
  parse(await readFile(join(manifests, 'examples', `${name}.yaml`), 'utf8'), { version: '1.1' });
const main = { name: 'main', image: 'none' };
/** The volume with the token of the ServiceAccount, which the API server mounts by itself, is left out. */
const noToken = { automountServiceAccountToken: false };

/** What manifests/injection does to pods, at the API server of a test that has manifests/base. */
export function describeInjection(
  controlPlane: () => ControlPlane,
  mutatingApi: 'v1' | 'v1beta1' = 'v1',
): void {
  /** What the API server would make of a pod. */
  async function admitted(label: string | undefined, spec: object, namespace = 'opted-in') {
    const pod = {
      metadata: { name: 'web', ...(label !== undefined && { labels: { 'kubespiffe.io/inject': label } }) },
      spec: { ...noToken, containers: [main], ...spec },
    };
    const path = `/api/v1/namespaces/${namespace}/pods?dryRun=All`;
    const { status, body } = await controlPlane().request('POST', path, pod);
    return { status, spec: body.spec as Pod, message: body.message as string };
  }
  async function specOf(...wishes: Parameters<typeof admitted>): Promise<Pod> {
    const { status, spec, message } = await admitted(...wishes);
    assert.equal(status, 201, message);
    return spec;
  }
  const mountsOf = ({ volumeMounts = [] }: Pod) =>
    volumeMounts.map(({ name, mountPath }: Pod) => `${name} ${mountPath}`);

  describe('the policy that injects certificate and roots', () => {
    let input: string;

    before(async () => {
      const injection = { 'kubespiffe.io/injection': 'enabled' };
      const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' };
      for (const [name, labels] of Object.entries({
        'opted-in': injection,
        restricted: { ...injection, ...restricted },
        'not-opted-in': {},
      })) {
        await create(controlPlane(), '/api/v1/namespaces', { metadata: { name, labels } });
        await waitFor(`the ServiceAccount of ${name}`, async () => {
          const path = `/api/v1/namespaces/${name}/serviceaccounts/default`;
          return (await controlPlane().request('GET', path)).status === 200;
        });
      }
      input = await componentWith(mutatingApi);
      await controlPlane().kubectl(['apply', '--server-side', '-f', '-'], { input });
      await waitFor('the policy to take effect', async () => {
        const { spec } = await admitted('files', {});
        return spec?.volumes?.length === 1 && (await admitted('other', {})).status === 422;
      });
    });
    after(() => controlPlane().kubectl(['delete', '--ignore-not-found', '-f', '-'], { input }));

    it('the injection adds the volume of the examples to every container of a pod that asks for files', async () => {
      const spec = await specOf('files', {
        initContainers: [{ ...main, name: 'first' }],
        containers: [main, { ...main, name: 'second', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
        volumes: [{ name: 'data', emptyDir: {} }],
      });
      const example = (await exampleOf('pod')).spec.volumes[0].projected;
      assert.deepEqual(spec.volumes, [
        { name: 'data', emptyDir: {} },
        {
          name: 'kubespiffe',
          projected: { ...example, sources: example.sources.filter((one: Pod) => !one.serviceAccountToken) },
        },
      ]);
      const ours = 'kubespiffe /run/spiffe';
      assert.deepEqual([...spec.initContainers, ...spec.containers].map(mountsOf), [
        [ours],
        [ours],
        ['data /data', ours],
      ]);
      assert.equal(spec.containers[0].volumeMounts[0].readOnly, true);
    });

    it('the injection adds the sidecar to a pod that asks for the Workload API, and no files to its containers', async () => {
      const own = [{ name: 'SPIFFE_ENDPOINT_SOCKET', value: 'unix:///own' }];
      const spec = await specOf('workload-api', {
        initContainers: [{ ...main, name: 'first' }],
        containers: [main, { ...main, name: 'second', env: own }],
      });
      const example = (await exampleOf('workload-api')).spec;
      const [sidecar, first] = spec.initContainers;
      const { name: _, args, securityContext, volumeMounts, image, ...others } = example.initContainers[0];
      assert.partialDeepStrictEqual(sidecar, {
        ...{ name: 'kubespiffe', image, ...others },
        args: args.filter((flag: string) => !flag.startsWith('--token-endpoint')),
        securityContext: {
          ...securityContext,
          runAsNonRoot: true,
          seccompProfile: { type: 'RuntimeDefault' },
        },
      });
      assert.deepEqual(mountsOf(sidecar), ['kubespiffe /run/spiffe', 'kubespiffe-socket /run/workload-api']);
      assert.equal(volumeMounts.length, sidecar.volumeMounts.length);
      for (const container of [first, ...spec.containers])
        assert.deepEqual(mountsOf(container), ['kubespiffe-socket /run/workload-api']);
      assert.deepEqual(spec.containers[0].env, example.containers[0].env);
      assert.deepEqual(spec.containers[1].env, own);
      assert.deepEqual(
        spec.volumes.map(({ name }: Pod) => name),
        ['kubespiffe', 'kubespiffe-socket'],
      );
      // Read by the account of the image, which need not be that of the pod. No other container mounts it.
      assert.equal(spec.volumes[0].projected.defaultMode, 0o444);
    });

    it('the injection takes trust domain, image and token endpoint from its parameters', async () => {
      const { data } = (await controlPlane().request('GET', parameters)).body;
      const ours = {
        trustDomain: 'other.example',
        image: 'registry.example.com/kubespiffe:1',
        tokenEndpoint: 'https://tokens.example.com',
      };
      await controlPlane().request('PATCH', parameters, { data: ours });
      try {
        const spec = await waitFor('the parameters to take effect', async () => {
          const found = await specOf('workload-api', {});
          return found.initContainers[0].image === ours.image && found;
        });
        assert.ok(spec.initContainers[0].args.includes('--token-endpoint=https://tokens.example.com'));
        const { matchLabels } = spec.volumes[0].projected.sources[1].clusterTrustBundle.labelSelector;
        assert.equal(matchLabels['k8s.spiffe.io/workload-trust-domain'], 'other.example');
        assert.equal(matchLabels['k8s.spiffe.io/peer-trust-domain'], 'other.example');
        assert.ok(spec.initContainers[0].args.includes('--trust-domain=other.example'));
        await controlPlane().request('PATCH', parameters, {
          data: { trustDomain: `sha256-${'0'.repeat(40)}` },
        });
        await waitFor('a sidecar that is without the hash of a long trust domain', async () => {
          const { args } = (await specOf('workload-api', {})).initContainers[0];
          return !args.some((flag: string) => flag.startsWith('--trust-domain'));
        });
      } finally {
        await controlPlane().request('PATCH', parameters, { data });
      }
    });

    it('the injection leaves a mount of the author at the same path unchanged', async () => {
      const volumeMounts = [{ name: 'own', mountPath: '/run/spiffe' }];
      const spec = await specOf('files', {
        containers: [{ ...main, volumeMounts }],
        volumes: [{ name: 'own', emptyDir: {} }],
      });
      assert.deepEqual(mountsOf(spec.containers[0]), ['own /run/spiffe']);
    });

    it('the injection leaves a pod without the label unchanged, and one that has the volume already', async () => {
      assert.equal((await specOf(undefined, {})).volumes, undefined);
      const { volumes } = await specOf('files', {});
      const spec = await specOf('files', { volumes });
      assert.deepEqual([spec.volumes, mountsOf(spec.containers[0])], [volumes, []]);
    });

    it('the injection adds only what a namespace of the restricted profile accepts', async () => {
      const securityContext = {
        allowPrivilegeEscalation: false,
        runAsNonRoot: true,
        runAsUser: 1000,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      };
      for (const label of ['files', 'workload-api'])
        await specOf(label, { containers: [{ ...main, securityContext }] }, 'restricted');
    });

    const refused: [what: string, wishes: Parameters<typeof admitted>, message: RegExp][] = [
      ['another value of the label', ['yes', {}], /has the value "yes": use files or workload-api/],
      [
        'a pod that asks in a namespace that has not opted in',
        ['files', {}, 'not-opted-in'],
        /nothing is injected in the namespace not-opted-in: give the namespace the label/,
      ],
      [
        'a volume of that name without a certificate',
        ['files', { volumes: [{ name: 'kubespiffe', emptyDir: {} }] }],
        /a volume kubespiffe without a certificate, .* give the volume another name/,
      ],
      [
        'files that the pod could not read',
        ['files', { securityContext: { runAsNonRoot: true } }],
        /belong to root, and the pod does not run as root: set fsGroup or runAsUser/,
      ],
    ];
    for (const [what, wishes, message] of refused) {
      it(`the injection refuses ${what}, with what to do`, async () => {
        const answer = await admitted(...wishes);
        assert.equal(answer.status, 422, answer.message);
        assert.match(answer.message, message);
      });
    }

    it('the injection refuses pods that ask for it while the parameters are missing', async () => {
      await controlPlane().request('DELETE', parameters);
      const answer = await waitFor('the policy to miss its parameters', async () => {
        const found = await admitted('files', {});
        return found.status !== 201 && found;
      });
      assert.match(answer.message, /kubespiffe-injection/);
      assert.equal((await admitted(undefined, {})).status, 201);
    });
  });
}
