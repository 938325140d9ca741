import type { ControlPlane } from './control-plane.ts';
import { toolsImage } from './image.ts';
import type { PodName } from './node.ts';
import { usualTimeoutMs, waitFor } from './process.ts';

/** A pod of the tools image, for a test to complete. */
export function toolsPod(
  pod: PodName & { labels?: Readonly<Record<string, string>> },
  options: {
    command?: readonly string[];
    nodeName?: string;
    serviceAccountName?: string;
    volumes?: readonly object[];
    volumeMounts?: readonly object[];
    readinessProbe?: object;
  } = {},
): object {
  const { command, volumeMounts, readinessProbe, ...spec } = options;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: pod,
    spec: {
      ...spec,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'tools',
          image: toolsImage,
          imagePullPolicy: 'Never',
          ...(command && { command }),
          ...(volumeMounts && { volumeMounts }),
          ...(readinessProbe && { readinessProbe }),
        },
      ],
    },
  };
}

/** Waits until every container of a pod is ready; the error tells the pod's events. */
export async function waitForPod(
  controlPlane: ControlPlane,
  pod: PodName,
  timeoutMs = usualTimeoutMs,
): Promise<void> {
  const path = `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
  try {
    await waitFor(
      `pod ${pod.namespace}/${pod.name} to be ready`,
      async () => {
        const { body } = await controlPlane.request('GET', path);
        const conditions: { type: string; status: string }[] = body.status?.conditions ?? [];
        return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
      },
      { timeoutMs },
    );
  } catch (error) {
    const told = await controlPlane.kubectl(['describe', 'pod', '--namespace', pod.namespace, pod.name]);
    throw new Error(`${(error as Error).message}\n${told}`);
  }
}

/**
 * The log of a container as `kubectl logs` prints it, without a process: a test that waits for a line reads it many times.
 *
 * @throws Error while the container has no log.
 */
export async function podLog(
  { request }: Pick<ControlPlane, 'request'>,
  { namespace, name }: PodName,
  options: { container?: string; tailLines?: number; timestamps?: boolean } = {},
): Promise<string> {
  const query = Object.entries(options).map(([key, value]) => `${key}=${value}`);
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log?${query.join('&')}`;
  const { status, body } = await request('GET', path);
  // A log of one line may be JSON, and is parsed then.
  const log = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  if (status !== 200) throw new Error(`GET ${path}: ${status} ${log}`);
  return log;
}
