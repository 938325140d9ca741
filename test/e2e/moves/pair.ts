import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { waitFor } from '../../cluster/process.ts';

export const image = 'kubespiffe.io/kubespiffe:dev';

/** The part of a pod that a move changes. */
export interface PodPart {
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly initContainers?: readonly object[];
  readonly volumes: readonly object[];
  readonly volumeMounts: readonly object[];
}

/** A call of one of the two. */
interface Call {
  readonly pod: string;
  /** What it learnt of the other one: a SPIFFE ID, or the common name of its issuer. */
  readonly peer?: string;
  /** The message of the error, if there was one. */
  readonly failed?: string;
}

export const names = ['web', 'api'] as const;
export type Name = (typeof names)[number];

/** Two Deployments that call each other all the time while they move from one form to another. */
export interface Pair {
  /** Gives a Deployment this form, and waits until its new pod has replaced the old one. */
  apply(name: Name, part: PodPart): Promise<void>;
  /** Waits until both have had ten more answers, the newest from a peer as wanted. */
  answers(isPeer: (peer: string, of: Name) => boolean): Promise<void>;
  /** Since the first call of `answers`: how many calls there were, and the errors. */
  report(): Promise<{ calls: number; failed: string[] }>;
  /** Removes what the pods share. */
  clean(): Promise<void>;
}

export async function createPair(
  { kubectl }: ControlPlane,
  options: {
    readonly namespace: string;
    readonly program: string;
    readonly idsOf: (name: Name) => readonly string[];
  },
): Promise<Pair> {
  const { namespace, idsOf } = options;
  const program = await readFile(join(import.meta.dirname, options.program), 'utf8');
  const shared = await mkdtemp(join(tmpdir(), 'kubespiffe-moves-'));
  await chmod(shared, 0o777);
  const begun: Record<Name, number> = { web: 0, api: 0 };
  let hasBegun = false;

  async function callsOf(name: Name): Promise<Call[]> {
    const lines = await readFile(join(shared, name), 'utf8').catch(() => '');
    return lines
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Call);
  }

  function deployment(name: Name, { labels, env = {}, initContainers, volumes, volumeMounts }: PodPart) {
    const other = name === 'web' ? 'api' : 'web';
    const all = { ...env, LOG: `/shared/${name}`, PEER: other, PEER_IDS: idsOf(other).join(' ') };
    return {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace },
      spec: {
        selector: { matchLabels: { app: name } },
        strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template: {
          metadata: { labels: { app: name, ...labels } },
          spec: {
            serviceAccountName: name,
            automountServiceAccountToken: false,
            securityContext: { runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532 },
            ...(initContainers && { initContainers }),
            containers: [
              {
                ...{ name: 'main', image },
                command: ['node', '--input-type=module', '--eval', program],
                env: Object.entries(all).map(([key, value]) => ({ name: key, value })),
                readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 },
                // A Service leads to an ending pod for a moment.
                lifecycle: { preStop: { sleep: { seconds: 10 } } },
                volumeMounts: [{ name: 'shared', mountPath: '/shared' }, ...volumeMounts],
              },
            ],
            volumes: [{ name: 'shared', hostPath: { path: shared } }, ...volumes],
          },
        },
      },
    };
  }
  const service = (name: Name) => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace } },
    spec: { selector: { app: name }, ports: [{ port: 8443 }] },
  });
  const account = (name: Name) => ({
    ...{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } },
  });
  const applyAll = (...items: object[]) =>
    kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
  await applyAll({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  await applyAll(...names.flatMap((name) => [service(name), account(name)]));

  const stateOf = async () =>
    Promise.all([
      kubectl(['get', 'pods,events', '--namespace', namespace]).catch(String),
      ...names.map((name) =>
        kubectl([
          ...['logs', '--namespace', namespace, `deployment/${name}`, '--all-containers', '--tail', '20'],
        ]).catch(String),
      ),
      ...names.map(async (name) => JSON.stringify((await callsOf(name)).slice(-3))),
    ]);
  const orState = async <T>(promise: Promise<T>): Promise<T> => {
    try {
      return await promise;
    } catch (error) {
      throw new Error([(error as Error).message, ...(await stateOf())].join('\n'));
    }
  };

  return {
    async apply(name, part) {
      await applyAll(deployment(name, part));
      const status = ['rollout', 'status', `deployment/${name}`, '--namespace', namespace];
      if (hasBegun) await orState(kubectl([...status, '--timeout=120s']));
    },
    async answers(isPeer) {
      const isGood = (name: Name, { peer, failed }: Call) =>
        failed === undefined && isPeer(peer ?? '', name === 'web' ? 'api' : 'web');
      for (const name of names) {
        const before = (await callsOf(name)).length;
        const limits = { timeoutMs: 120_000, everyMs: 500 };
        const wait = waitFor(
          `answers to ${name}`,
          async () => {
            const calls = (await callsOf(name)).slice(before);
            return calls.length >= 10 && calls.slice(-10).every((call) => isGood(name, call));
          },
          limits,
        );
        await orState(wait);
      }
      if (hasBegun) return;
      hasBegun = true;
      for (const name of names) begun[name] = (await callsOf(name)).length;
    },
    async report() {
      const calls = (
        await Promise.all(names.map(async (name) => (await callsOf(name)).slice(begun[name])))
      ).flat();
      return { calls: calls.length, failed: calls.flatMap(({ failed }) => failed ?? []) };
    },
    async clean() {
      await kubectl(['delete', 'namespace', namespace, '--wait=false']).catch(String);
      // The pods that end still write there.
      await rm(shared, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** Requires that no call failed since both talked, and that there were many. */
export async function assertNoneFailed(pair: Pair): Promise<void> {
  const { calls, failed } = await pair.report();
  console.log(`${calls} calls during the move`);
  assert.deepEqual(failed, []);
  assert.ok(calls > 100, `${calls} calls`);
}
