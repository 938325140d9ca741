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
  } = {},
): object {
  const { command, volumeMounts, ...spec } = options;
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
