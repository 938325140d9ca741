import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../cluster/command.ts';
import { type Child, startChild, waitFor } from '../cluster/process.ts';

/** Namespaces like those of a pod whose containers share their processes, on this machine's root file system. */
export interface Pod extends AsyncDisposable {
  /** Starts a program that ends with the pod. */
  start(name: string, command: readonly string[], user?: string): Child;
  /** Runs a program to its end; rejects with its standard error. */
  run(command: readonly string[], user?: string): Promise<string>;
}

/**
 * Starts a pod with a network, mounts and processes of its own, so that examples listen on the ports and use the paths that
 * they name, even if another program on this machine uses them.
 *
 * @param options.mounts folders of this machine, by the path at which the pod sees them.
 * @param options.writable folders that the user may write, empty at first.
 */
export async function startPod(
  folder: string,
  options: {
    mounts: Readonly<Record<string, string>>;
    writable: readonly string[];
    user: string;
  },
): Promise<Pod> {
  const state = await mkdtemp(join(folder, 'pod-'));
  const { mounts, writable, user } = options;
  const script = [
    'set -eu',
    'ip link set lo up',
    'mount -t tmpfs pod-run /run',
    ...writable.map((path) => `mkdir -p ${path} && mount -t tmpfs pod ${path} && chown ${user}: ${path}`),
    ...Object.entries(mounts).map(([path, from]) => `mkdir -p ${path} && mount --bind ${from} ${path}`),
    `touch ${state}/ready`,
    // A shell that waits for a child also collects the processes that others have left to PID 1.
    'while :; do sleep 3600; done',
  ];
  await writeFile(join(state, 'pod.sh'), script.join('\n'));
  await mkdir(join(state, 'log'));
  const log = (name: string) => join(state, 'log', name);
  const unshare = startChild('pod', [...newNamespaces, 'sh', join(state, 'pod.sh')], { logFile: log('pod') });
  await waitFor('the namespaces', () => readFile(join(state, 'ready')).then(() => true), {
    needs: [unshare],
  });
  const children = await readFile(`/proc/${unshare.pid}/task/${unshare.pid}/children`, 'utf8');
  const enter = (as: string) => [
    ...['nsenter', '--target', children.trim(), '--mount', '--net', '--pid', '--'],
    ...['setpriv', `--reuid=${as}`, `--regid=${as}`, '--clear-groups', '--pdeathsig', 'KILL', '--'],
  ];
  return {
    start: (name, command, as = user) => startChild(name, [...enter(as), ...command], { logFile: log(name) }),
    run: (command, as = user) => {
      const [program = '', ...args] = [...enter(as), ...command];
      return runCommand(program, ...args);
    },
    [Symbol.asyncDispose]: () => unshare.stop('SIGKILL'),
  };
}

const newNamespaces = [
  ...['unshare', '--mount', '--propagation', 'private', '--net', '--pid', '--fork', '--kill-child=SIGKILL'],
  '--mount-proc',
];
