import { cutBytes } from '../kube/events.ts';
import type { Transport } from '../kube/transport.ts';
import type { RotationReason } from '../observe/rotation-outcomes.ts';
import { createKeeper, type KeeperNeeds } from '../trust/keeper.ts';
import type { OwnPod } from './own-pod.ts';
import type { Part } from './profile.ts';

/** Why the rotation of a pool needs a person. */
export interface RotationProblem {
  readonly reason: RotationReason;
  /** What is due or wrong, and what to do. */
  readonly message: string;
}

export interface RotationCondition extends Part {
  /** Sets what the rotation of a pool (`namespace/name`) needs now. To be called about every second. */
  show(pool: string, problems: readonly RotationProblem[]): void;
}

export const rotationConditionType = 'kubespiffe.io/RotationDue';

interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

const fieldManager = 'kubespiffe-rotation';
const mostBytes = 2_048;
/** Between two writes: a message may change with every attempt. */
const restMs = 10_000;

/**
 * Keeps one condition in the status of the replica's own pod: `True` while a rotation needs a person. A pool is a Secret,
 * which has no status; a pod may have conditions of others, which kubelet keeps, and they end with the replica that wrote
 * them. Without the right to write it, everything else goes on, and the log says so.
 */
export function createRotationCondition(
  needs: Omit<KeeperNeeds, 'rankFor'> &
    Omit<OwnPod, 'events'> & {
      readonly transport: Pick<Transport, 'request'>;
    },
): RotationCondition {
  const { transport, namespace, replica: name } = needs;
  const pod = `${namespace}/${name}`;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  const call = { path, resource: 'pods' } as const;
  const shown = new Map<string, readonly RotationProblem[]>();
  /** As JSON: the last one that was asked for, and the last one that the API server has. */
  let asked: string | undefined;
  let written: string | undefined;

  function wanted(): Omit<Condition, 'lastTransitionTime'> {
    const all = [...shown].flatMap(([pool, problems]) =>
      problems.map(({ reason, message }) => ({ reason, message: `Pool ${pool}: ${message}` })),
    );
    const [first] = all;
    const message = all.map((each) => each.message).join(' ');
    return {
      type: rotationConditionType,
      status: first ? 'True' : 'False',
      reason: first?.reason ?? 'NothingDue',
      message: first ? cutBytes(message, mostBytes) : 'No rotation needs a person.',
    };
  }

  function difference(): string | undefined {
    const isWritten = JSON.stringify(wanted()) === written;
    return isWritten ? undefined : `condition ${rotationConditionType} is out of date`;
  }

  /** Throws what the transport throws. */
  async function repair(_key: string, _drift: string, signal: AbortSignal): Promise<undefined> {
    const next = wanted();
    const { body } = await transport.request<LivePod>({ ...call, method: 'GET', signal });
    const before = body.status?.conditions?.find(({ type }) => type === rotationConditionType);
    const lastTransitionTime =
      before?.status === next.status ? before.lastTransitionTime : new Date(needs.time.now()).toISOString();
    await transport.request({
      ...{ ...call, method: 'PATCH', path: `${path}/status`, query: { fieldManager, force: 'true' } },
      contentType: 'application/apply-patch+yaml',
      body: {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, uid: body.metadata.uid } },
        status: { conditions: [{ ...next, lastTransitionTime }] },
      },
      discardBody: true,
      signal,
    });
    written = JSON.stringify(next);
    return undefined;
  }

  const keeper = createKeeper(
    { ...needs, rankFor: () => 0 },
    { difference, repair, describe: () => ({ pod }), concurrency: 1, restMs },
  );
  return {
    show(pool, problems) {
      shown.set(pool, problems);
      const next = JSON.stringify(wanted());
      // Outside of a cluster there is no such pod. What cannot be written is tried again with growing intervals.
      if (next === asked || !needs.pods.get(pod)) return;
      asked = next;
      keeper.look(pod);
    },
    run: keeper.run,
  };
}

interface LivePod {
  readonly metadata: { readonly uid: string };
  readonly status?: { readonly conditions?: readonly Condition[] };
}
