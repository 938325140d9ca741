import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { type Node, startNode } from '../cluster/node.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import { run } from '../tools/run.ts';
import type { ClusterChoice } from './clusters.ts';

const root = join(import.meta.dirname, '../..');
const imageArchive = join(root, 'dist/kubespiffe-image.tar');
const base = join(root, 'manifests/base');

export const trustDomain = 'example.org';

export interface InstallationWishes {
  /** Adds components of manifests/, by an overlay such as manifests/examples/tokens is one. */
  readonly components?: readonly (
    | 'token-endpoint'
    | 'roots-configmap'
    | 'bundle-web'
    | 'bundle-spiffe'
    | 'service-dns'
    | 'federation'
    | 'rotation'
    | 'view'
  )[];
  /** `example.org` if absent. */
  readonly trustDomain?: string;
  /** Id of the first CA; `first` if absent. */
  readonly caId?: string;
  /** Further settings of that overlay, such as `KUBESPIFFE_LEAF_POD_IDENTITY=true`. */
  readonly settings?: readonly string[];
  /** Runs once the manifests are applied, before the signer is waited for: for what they expect to be there. */
  readonly prepare?: (made: Pick<Installation, 'controlPlane' | 'node'>) => Promise<void>;
  readonly report?: (line: string) => void;
}

/** A cluster with one real node in which manifests/base runs, with a pool made by `kubespiffe ca create`. */
export interface Installation {
  readonly controlPlane: ControlPlane;
  readonly node: Node;
  /** For a person who keeps the CA and may do nothing else. */
  readonly operatorKubeconfig: string;
  /** Runs a command of ours as that person. */
  kubespiffe(...args: string[]): Promise<string>;
  /** Waits until a namespace is ready for pods: made, and with its ServiceAccounts. */
  createNamespace(name: string, serviceAccounts?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

export async function install(choice: ClusterChoice, wishes: InstallationWishes = {}): Promise<Installation> {
  const {
    components = [],
    trustDomain: ownTrustDomain = trustDomain,
    caId = 'first',
    prepare,
    report = () => {},
  } = wishes;
  const settings = [`KUBESPIFFE_TRUST_DOMAIN=${ownTrustDomain}`, ...(wishes.settings ?? [])];
  if (!existsSync(imageArchive)) throw new Error("the image is not built yet: run 'make image'");
  report(`starting Kubernetes ${choice.version}: etcd, API server, controller manager, scheduler`);
  const controlPlane = await startControlPlane({
    version: choice.version,
    betaApis: choice.betaApis,
    complete: true,
  });
  try {
    report('joining a node: containerd, kubelet, kube-proxy');
    const node = await startNode(controlPlane, { version: choice.kubeletVersion });
    report('loading the image into the node');
    await node.importImage(imageArchive);
    const what = ['base', ...components].map((name) => `manifests/${name}`).join(', ');
    report(`applying ${what}, making the pool with \`kubespiffe ca create\``);
    const isBase = components.length === 0 && wishes.settings === undefined;
    const folder = isBase ? base : await writeOverlay(controlPlane.dir, components, settings);
    await controlPlane.kubectl(['apply', '--kustomize', folder]);
    await prepare?.({ controlPlane, node });
    const operator = await makeOperator(controlPlane);
    const asOperator = (...args: string[]) => kubespiffeAs(operator, args);
    await asOperator('ca', 'create', '--ca-id', caId, '--trust-domain', ownTrustDomain);
    if (components.includes('service-dns')) await asOperator(...(await createServiceDnsPool()));
    report('waiting for both replicas of the signer');
    await signerReady(controlPlane);
    return {
      controlPlane,
      node,
      operatorKubeconfig: operator,
      kubespiffe: asOperator,
      createNamespace: (name, serviceAccounts = []) => createNamespace(controlPlane, name, serviceAccounts),
      stop: controlPlane.stop,
    };
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

/** Runs a command of ours with a kubeconfig. Rejects with what it says where it fails. */
export async function kubespiffeAs(kubeconfig: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(args, { env: { KUBECONFIG: kubeconfig } });
  if (code !== 0) throw new Error(`kubespiffe ${args.join(' ')}: ${stderr.trim()}`);
  return stdout;
}

/** The arguments of the command in the guide of service-dns. */
async function createServiceDnsPool(): Promise<string[]> {
  const [create] = blocksBelow(await readPage('docs/guides/service-dns.md'), 'Install');
  return create?.code.trim().split(' ').slice(1) ?? [];
}

/** An overlay of ours, as users make one: base, components, and the setting that has no default. */
async function writeOverlay(
  parent: string,
  components: readonly string[],
  settings: readonly string[],
): Promise<string> {
  const folder = join(parent, 'overlay');
  await mkdir(folder);
  const kustomization = {
    resources: [relative(folder, base)],
    components: components.map((name) => relative(folder, join(root, 'manifests', name))),
    configMapGenerator: [
      {
        name: 'kubespiffe-signer',
        namespace: 'kubespiffe',
        behavior: 'merge',
        literals: ['KUBESPIFFE_JWT_ISSUER=https://id.example.org', ...settings],
      },
    ],
  };
  await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
  return folder;
}

/** Waits until all replicas of the newest Deployment are available; the error tells what they say. */
export async function signerReady(controlPlane: ControlPlane): Promise<void> {
  const deployment = ['deployment/kubespiffe-signer', '--namespace', 'kubespiffe'];
  try {
    await controlPlane.kubectl(['rollout', 'status', ...deployment, '--timeout=240s']);
  } catch (error) {
    const pods = await controlPlane.kubectl(['describe', 'pods', '--namespace', 'kubespiffe']);
    const logs = await controlPlane.kubectl(['logs', ...deployment, '--tail=30']).catch(String);
    throw new Error(`the signer does not become ready: ${(error as Error).message}\n${pods}\n${logs}`);
  }
}

/** A ServiceAccount with the role that manifests/base has for those who keep the CA. */
async function makeOperator(controlPlane: ControlPlane): Promise<string> {
  const namespace = 'kubespiffe';
  await controlPlane.kubectl(['create', 'serviceaccount', 'operator', '--namespace', namespace]);
  await controlPlane.kubectl([
    ...['create', 'rolebinding', 'operator', '--namespace', namespace, '--role=kubespiffe-ca-operator'],
    `--serviceaccount=${namespace}:operator`,
  ]);
  return controlPlane.kubeconfigFor({ namespace, name: 'operator' });
}

async function createNamespace(
  controlPlane: ControlPlane,
  name: string,
  serviceAccounts: readonly string[],
): Promise<void> {
  await controlPlane.kubectl(['create', 'namespace', name]);
  for (const account of serviceAccounts) {
    await controlPlane.kubectl(['create', 'serviceaccount', account, '--namespace', name]);
  }
  const path = `/api/v1/namespaces/${name}/serviceaccounts/default`;
  await waitFor(
    `the ServiceAccount of ${name}`,
    async () => (await controlPlane.request('GET', path)).status === 200,
  );
}
