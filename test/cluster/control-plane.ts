import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Admin, createAdmin } from './admin.ts';
import { findBinaries, type KubernetesBinaries } from './binary.ts';
import { createTestAuthority, type TestAuthority } from './certificates.ts';
import { apiServerFlags, type ComponentSettings, controllerFlags, writeCertificates } from './components.ts';
import { type Etcd, startEtcd } from './etcd.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { type ClusterNetwork, clusterNetwork } from './network.ts';
import { freePorts } from './ports.ts';
import { type Child, startChild, waitFor } from './process.ts';
import { makeStateFolder, removeStateFolder } from './state-folder.ts';
import { createTokenFiles, type TokenFiles } from './tokens.ts';
import { defaultVersion, type KubernetesVersion } from './versions.ts';

/** What kubeadm has. */
export const defaultIssuer = 'https://kubernetes.default.svc.cluster.local';

export interface ControlPlaneOptions {
  version?: KubernetesVersion;
  /** Serve PCRs and CTBs as certificates.k8s.io/v1beta1 too; versions before v1 always do. */
  betaApis?: boolean;
  /** Where the components' logs go; by default below `dir`, which is removed in the end. */
  logDir?: string;
  /** True when a node will join: KUBEBUILDER_ASSETS, which has no kubelet, is then not used. */
  complete?: boolean;
  /**
   * False: etcd and the API server alone, for a bench that wants the cores for them. Nothing evicts pods of a node
   * without a kubelet then, and nothing makes the ServiceAccount `default`.
   */
  controllers?: boolean;
  /**
   * Whether nodes are held to the truth about their pods. By default only where a node will join (`complete`): elsewhere
   * tests create requests in the place of a kubelet (`asNode`), and some of them lie on purpose.
   */
  nodeRestriction?: boolean;
  /** Key of the ServiceAccount tokens: ES256 (default), or RS256 as most clusters have. */
  tokenAlgorithm?: 'ES256' | 'RS256';
  /** The first one issues, the others are accepted as well; the usual one alone by default. */
  serviceAccountIssuers?: readonly string[];
  /** Further flags of kube-apiserver. */
  apiServerFlags?: readonly string[];
  /** Told what goes on, above all while Kubernetes is being built; standard error by default. */
  report?: (line: string) => void;
}

/** A running etcd, kube-apiserver and kube-controller-manager, and a kube-scheduler where a node will join. */
export interface ControlPlane {
  readonly version: KubernetesVersion;
  /** `https://127.0.0.1:PORT`, the same after a restart of the API server. */
  readonly url: string;
  /** Folder of all state, removed by stop(). */
  readonly dir: string;
  readonly logDir: string;
  /** File of the cluster administrator, for tests only: the signer and the tools run with the RBAC we ship. */
  readonly kubeconfig: string;
  /** Certificate of the cluster's own CA, PEM. */
  readonly authority: TestAuthority;
  readonly network: ClusterNetwork;
  readonly binaries: KubernetesBinaries;
  /**
   * A kubeconfig file that speaks for an existing ServiceAccount by a token from TokenRequest. `server` and
   * `authority` (PEM) point it at something else, such as the fault proxy.
   */
  readonly kubeconfigFor: TokenFiles['kubeconfigFor'];
  /** Gives a kubeconfig made by kubeconfigFor a new token, as kubelet does with a projected one. */
  readonly rotateToken: TokenFiles['rotate'];
  /** As administrator; never throws for an answer of the server. */
  readonly request: Admin['request'];
  /** As administrator; rejects with kubectl's own words. */
  readonly kubectl: Admin['kubectl'];
  /** kill -9, and wait until it is gone. */
  killApiServer(): Promise<void>;
  /** Starts it again on the same etcd and port, with what is changed if given, and waits until it is ready. */
  startApiServer(
    changed?: Pick<ControlPlaneOptions, 'serviceAccountIssuers' | 'betaApis' | 'apiServerFlags'>,
  ): Promise<void>;
  /** To put back its data. */
  readonly etcd: Pick<Etcd, 'save' | 'putBack' | 'restart' | 'call'>;
  /** CPU seconds used so far; the API server's since its last start. */
  cpuSeconds(): { apiserver: number; etcd: number };
  /** Runs before the control plane goes: for what was joined to it, last one first. */
  onStop(action: () => Promise<void>): void;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a control plane on free ports, with Node,RBAC authorization, ready after about 4 s.
 * It ends when this process ends, for any reason.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const version = options.version ?? defaultVersion;
  const binaries = await findBinaries(version, {
    ...(options.complete !== undefined && { complete: options.complete }),
    ...(options.report && { report: options.report }),
  });
  const dir = await makeStateFolder();
  const stops: (() => Promise<void>)[] = [() => removeStateFolder(dir)];
  const stop = async () => {
    for (let action = stops.pop(); action; action = stops.pop()) await action();
  };
  try {
    return await start({ ...options, version }, binaries, dir, stops, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  options: ControlPlaneOptions & { version: KubernetesVersion },
  binaries: KubernetesBinaries,
  dir: string,
  stops: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<ControlPlane> {
  const logDir = options.logDir ?? join(dir, 'logs');
  await mkdir(logDir, { recursive: true });
  const [port = 0, etcdPort = 0, peerPort = 0] = await freePorts(3);
  const url = `https://127.0.0.1:${port}`;
  const network = clusterNetwork(port);
  const settings: ComponentSettings = {
    version: options.version,
    dir,
    port,
    etcdPort,
    peerPort,
    network,
    betaApis: options.betaApis ?? false,
    serviceAccountIssuers: options.serviceAccountIssuers ?? [defaultIssuer],
    apiServerFlags: options.apiServerFlags ?? [],
    nodeRestriction: options.nodeRestriction ?? options.complete ?? false,
  };
  const authority = await createTestAuthority('kubernetes-test-ca');
  await writeCertificates(dir, authority, network, options.tokenAlgorithm ?? 'ES256');
  const credential = await authority.issue({ commonName: 'admin', organization: 'system:masters' });
  const kubeconfig = await writeKubeconfig(
    join(dir, 'admin.kubeconfig'),
    { server: url, authority: authority.certificate },
    credential,
  );
  const admin = createAdmin({
    url,
    authority: authority.certificate,
    credential,
    kubeconfig,
    kubectl: binaries.command('kubectl') ?? ['kubectl'],
    cacheFolder: join(dir, 'kubectl-cache'),
  });
  stops.push(() => admin.close());

  const run = (name: string, command: readonly string[]): Child => {
    const child = startChild(name, command, { logFile: join(logDir, `${name}.log`) });
    // Its state is thrown away, so nothing needs to end in good order.
    stops.push(() => child.stop('SIGKILL'));
    return child;
  };
  const etcd = startEtcd(binaries.command('etcd') ?? [], settings, join(logDir, 'etcd.log'));
  stops.push(() => etcd.stop());
  let apiServer: Child;
  const startApiServer: ControlPlane['startApiServer'] = async (changed = {}) => {
    const flags = apiServerFlags({ ...settings, ...changed });
    apiServer = run('kube-apiserver', [...(binaries.command('kube-apiserver') ?? []), ...flags]);
    const needs = [etcd.child(), apiServer];
    await waitFor('the API server', async () => (await admin.request('GET', '/readyz')).status === 200, {
      needs,
    });
  };
  await startApiServer();

  const controllers = (['kube-controller-manager', 'kube-scheduler'] as const).filter(
    (name) => options.controllers !== false && (options.complete || name !== 'kube-scheduler'),
  );
  for (const name of controllers) {
    const command = binaries.command(name);
    if (!command) continue;
    const own = await authority.issue({ commonName: `system:${name}` });
    const file = join(dir, `${name}.kubeconfig`);
    await writeKubeconfig(file, { server: url, authority: authority.certificate }, own);
    run(name, [...command, ...controllerFlags(name, settings, file)]);
  }
  if (binaries.complete && controllers.length > 0) await waitForServiceAccount(admin);

  const tokens = createTokenFiles(dir, url, authority.certificate, admin);
  return {
    version: options.version,
    url,
    dir,
    logDir,
    kubeconfig,
    authority,
    network,
    binaries,
    kubeconfigFor: tokens.kubeconfigFor,
    rotateToken: tokens.rotate,
    request: admin.request,
    kubectl: admin.kubectl,
    killApiServer: () => apiServer.stop('SIGKILL'),
    startApiServer,
    etcd,
    cpuSeconds: () => ({ apiserver: apiServer.cpuSeconds(), etcd: etcd.child().cpuSeconds() }),
    onStop: (action) => void stops.push(action),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Pods are refused ("error looking up service account") until the controller manager has made it. */
async function waitForServiceAccount(admin: Admin): Promise<void> {
  const path = '/api/v1/namespaces/default/serviceaccounts/default';
  await waitFor('the default ServiceAccount', async () => (await admin.request('GET', path)).status === 200);
}
