import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { findBinaries, type KubernetesBinaries } from './binary.ts';
import { createCgroup, removeCgroup } from './cgroups.ts';
import { runCommand } from './command.ts';
import type { ControlPlane } from './control-plane.ts';
import { startDns } from './dns.ts';
import { makeNodeImages } from './image.ts';
import { nodeFiles } from './node-config.ts';
import { kubeletFlags, proxyFlags, writeNodeFiles } from './node-files.ts';
import { cgroupPrefix, checkMachine, removeStaleCgroups } from './node-machine.ts';
import { ensureBridge, plugIn, removeLinks, removeStaleLinks, routePods } from './node-network.ts';
import { type Child, startChild, waitFor } from './process.ts';
import { stateId } from './state-folder.ts';
import type { KubernetesVersion } from './versions.ts';

export interface PodName {
  namespace: string;
  name: string;
}

/** A real node: kubelet, kube-proxy, containerd and runc in namespaces of their own. */
export interface Node {
  readonly name: string;
  /** InternalIP, reachable from the host and from the pods. */
  readonly address: string;
  readonly version: KubernetesVersion;
  /** First process of its namespaces. */
  readonly pid: number;
  /** Where this machine sees /var/log of the node. */
  readonly logFolder: string;
  /** Kills kubelet and starts it again; resolves when the node has reported itself anew. Pods go on running. */
  restartKubelet(): Promise<void>;
  killKubelet(): Promise<void>;
  startKubelet(): Promise<void>;
  /** Loads an OCI (or docker) archive; returns the names of its images. Pods use `imagePullPolicy: Never`. */
  importImage(archive: string): Promise<string[]>;
  /** `kubectl exec`: standard output of a command in a pod's container. */
  exec(pod: PodName, command: readonly string[], options?: { container?: string }): Promise<string>;
  /** Where this machine sees a file of a pod's volume. */
  volumePath(pod: PodName, volume: string, file: string, plugin?: 'projected' | 'empty-dir'): Promise<string>;
  /** A file of a pod's volume as kubelet wrote it, for images that hold no `cat`. */
  readVolumeFile(pod: PodName, volume: string, file: string): Promise<string>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** One node of a cluster, as the others see it. */
interface Member {
  readonly index: number;
  /** First process of its namespaces; 0 until they are there. */
  pid: number;
}

/** Nodes of each control plane, so that they learn the routes to each other's pods. */
const membersOf = new WeakMap<ControlPlane, Member[]>();

/**
 * Joins a node to a control plane, Ready about 10 s later. Needs root and the Debian packages that
 * scripts/debian-packages.sh installs. When this process ends, for any reason, the kernel ends all of the node's
 * processes and mounts; the control plane's stop() stops its nodes first.
 */
export async function startNode(
  controlPlane: ControlPlane,
  options: { name?: string; version?: KubernetesVersion } = {},
): Promise<Node> {
  if (!controlPlane.binaries.complete) {
    throw new Error(
      'a node needs a whole control plane, which KUBEBUILDER_ASSETS has not: pass complete: true',
    );
  }
  await checkMachine();
  await removeStaleLinks();
  await removeStaleCgroups();
  const binaries = await findBinaries(options.version ?? controlPlane.version, { complete: true });
  const members = membersOf.get(controlPlane) ?? [];
  membersOf.set(controlPlane, members);
  const member: Member = { index: members.length, pid: 0 };
  members.push(member);
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (let action = stops.pop(); action; action = stops.pop()) await action();
  };
  controlPlane.onStop(stop);
  try {
    return await join(
      controlPlane,
      binaries,
      members,
      member,
      options.name ?? `node-${member.index}`,
      stops,
      stop,
    );
  } catch (error) {
    await stop();
    throw error;
  }
}

async function join(
  controlPlane: ControlPlane,
  binaries: KubernetesBinaries,
  members: Member[],
  member: Member,
  name: string,
  stops: (() => Promise<void>)[],
  stop: () => Promise<void>,
): Promise<Node> {
  const { network } = controlPlane;
  const id = stateId(controlPlane.dir);
  const cgroupRoot = `${cgroupPrefix}${id}-${member.index}`;
  const files = nodeFiles(`${controlPlane.dir}/n${member.index}`);
  await mkdir(`${files.state}/kubelet`, { recursive: true });
  await writeNodeFiles(controlPlane, files, member.index, name, cgroupRoot, binaries.version);
  await createCgroup(cgroupRoot);
  stops.push(() =>
    waitFor('the end of the containers', () => removeCgroup(cgroupRoot).then(() => true)).then(() => {}),
  );

  const run = (part: string, command: readonly string[]): Child => {
    const child = startChild(part, command, { logFile: `${controlPlane.logDir}/${name}-${part}.log` });
    stops.push(() => child.stop('SIGKILL'));
    return child;
  };
  const namespaces = run('init', [
    ...newNamespaces,
    'sh',
    `${import.meta.dirname}/node-init.sh`,
    files.state,
  ]);
  await waitFor('the namespaces', () => existsSync(`${files.state}/namespaces-ready`), {
    needs: [namespaces],
  });
  member.pid = await onlyChildOf(namespaces);
  const bridge = await ensureBridge(id, network);
  if (member.index === 0) {
    controlPlane.onStop(() => removeLinks(id));
    await startDns(controlPlane);
  }
  await plugIn(member.pid, member.index, bridge, network);
  await connectPods(members, member, network);

  const inside = (...command: readonly string[]) => [...enter(member.pid), ...command];
  const containerd = run('containerd', inside('containerd', '--config', files.containerdConfig));
  const ctr = inside('ctr', '--address', files.containerdSocket, '--namespace', 'k8s.io');
  await waitFor('containerd', () => runCommand(...program([...ctr, 'version'])).then(() => true), {
    needs: [containerd],
  });
  const importImage = async (archive: string) =>
    imported(await runCommand(...program([...ctr, 'images', 'import', archive])));
  for (const archive of await makeNodeImages(`${files.state}/images`)) await importImage(archive);

  let kubelet: Child;
  const startKubelet = async () => {
    kubelet = run(
      'kubelet',
      inside(...component(binaries, 'kubelet'), ...kubeletFlags(files, network.node(member.index), name)),
    );
    await waitFor(`node ${name} to be ready`, () => isReady(controlPlane, name), {
      needs: [containerd, kubelet],
    });
  };
  run(
    'kube-proxy',
    inside(...component(binaries, 'kube-proxy'), ...proxyFlags(files, network.node(member.index), name)),
  );
  await startKubelet();
  // nsenter ends once kubelet has, with all its threads; the other way round its port would still be taken.
  const killKubelet = async () => {
    process.kill(await onlyChildOf(kubelet), 'SIGKILL');
    await waitFor('the end of kubelet', () => kubelet.hasExited());
  };
  const volumePath: Node['volumePath'] = async (pod, volume, file, plugin = 'projected') => {
    const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
    const { body } = await controlPlane.request('GET', path);
    const folder = `pods/${body.metadata.uid}/volumes/kubernetes.io~${plugin}/${volume}`;
    return `/proc/${member.pid}/root/var/lib/kubelet/${folder}/${file}`;
  };
  return {
    name,
    address: network.node(member.index),
    version: binaries.version,
    pid: member.pid,
    logFolder: `${files.state}/log`,
    killKubelet,
    startKubelet,
    restartKubelet: async () => {
      await waitFor('containers that kubelet keeps ready', () => areSettled(controlPlane, name));
      await killKubelet();
      await startKubelet();
    },
    importImage,
    exec: (pod, command, options = {}) =>
      controlPlane.kubectl([
        ...['exec', '--namespace', pod.namespace, pod.name],
        ...(options.container === undefined ? [] : ['--container', options.container]),
        '--',
        ...command,
      ]),
    volumePath,
    readVolumeFile: async (pod, volume, file) => readFile(await volumePath(pod, volume, file), 'utf8'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** What ends with the first process of the PID namespace: unshare kills it when it is killed itself. */
const newNamespaces = [
  ...['unshare', '--mount', '--propagation', 'private', '--net', '--pid', '--fork', '--kill-child=SIGKILL'],
  '--mount-proc',
];

/** Runs a program in a node's namespaces; it is killed when nsenter is. */
function enter(pid: number): string[] {
  return [
    'nsenter',
    '--target',
    String(pid),
    '--mount',
    '--net',
    '--pid',
    'setpriv',
    '--pdeathsig',
    'KILL',
    '--',
  ];
}

function program(command: readonly string[]): [string, ...string[]] {
  const [first = '', ...rest] = command;
  return [first, ...rest];
}

function component(binaries: KubernetesBinaries, name: 'kubelet' | 'kube-proxy'): readonly string[] {
  return binaries.command(name) ?? [name];
}

async function connectPods(
  members: Member[],
  joining: Member,
  network: ControlPlane['network'],
): Promise<void> {
  for (const other of members) {
    if (other === joining || other.pid === 0) continue;
    await routePods(joining.pid, other.index, network);
    // A node that was stopped has no namespaces any more.
    if (existsSync(`/proc/${other.pid}/ns/net`)) await routePods(other.pid, joining.index, network);
  }
}

/** Asks the kubelet itself too: after a restart the Ready of the one before it still stands. */
async function isReady(controlPlane: ControlPlane, name: string): Promise<boolean> {
  const node = `/api/v1/nodes/${name}`;
  const { status, body } = await controlPlane.request('GET', node);
  if (status !== 200) return false;
  const conditions: { type: string; status: string }[] = body.status.conditions ?? [];
  const ready = conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True');
  return ready && (await controlPlane.request('GET', `${node}/proxy/healthz`)).status === 200;
}

/**
 * kubelet takes a container that started less than 10 s before it for not ready, until a probe says otherwise
 * (kubeletRestartGracePeriod in its prober). Its Service would refuse connections for a second. Times of the API are cut to
 * whole seconds.
 */
const settledMs = 11_000;

async function areSettled(controlPlane: ControlPlane, name: string): Promise<boolean> {
  const path = `/api/v1/pods?fieldSelector=spec.nodeName%3D${name}`;
  const { body } = await controlPlane.request('GET', path);
  type Started = { ready: boolean; state: { running?: { startedAt: string } } };
  const containers: Started[] = body.items.flatMap(
    ({ status }: { status: Record<string, Started[] | undefined> }) => [
      ...(status.containerStatuses ?? []),
      ...(status.initContainerStatuses ?? []),
    ],
  );
  return containers.every(({ ready, state: { running } }) => {
    return !ready || !running || Date.parse(running.startedAt) + settledMs < Date.now();
  });
}

function onlyChildOf(parent: Child): Promise<number> {
  const file = `/proc/${parent.pid}/task/${parent.pid}/children`;
  return waitFor(
    `a child of ${parent.name}`,
    async () => Number((await readFile(file, 'utf8')).split(' ')[0]) || undefined,
    {
      needs: [parent],
    },
  );
}

/** `unpacking NAME (sha256:…)...done`, one line for each image. */
function imported(output: string): string[] {
  return [...output.matchAll(/^unpacking (\S+)/gm)].flatMap((match) => match[1] ?? []);
}
