import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../cluster/process.ts';
import type { Installation } from '../installation.ts';
import { readPool } from './pool.ts';

const signers =
  '/api/v1/namespaces/kubespiffe/pods?labelSelector=app.kubernetes.io/component=signer&gracePeriodSeconds=0';

/**
 * Every replica dies whenever the pool changes.
 *
 * @param killMore kills what else is to die then.
 * @returns a function that ends this, and says in which states the CAs were each time, such as `first retiring, ca-2 active`.
 */
export function killAtEachStep(
  installation: Installation,
  killMore: () => void = () => {},
): () => Promise<readonly string[]> {
  let isOver = false;
  const kills: string[] = [];
  const kill = async () => (await installation.controlPlane.request('DELETE', signers)).status === 200;
  const ended = (async () => {
    let { sequence } = await readPool(installation);
    while (!isOver) {
      // The API server is away for a while.
      const pool = await readPool(installation).catch(() => undefined);
      if (pool && pool.sequence > sequence) {
        killMore();
        sequence = pool.sequence;
        const cas = pool.authorities.filter(({ kind }) => kind === 'X509');
        kills.push(cas.map(({ id, state }) => `${id} ${state}`).join(', '));
        await waitFor('the end of the replicas', kill);
      }
      await sleep(20);
    }
  })();
  return async () => {
    isOver = true;
    await ended;
    return kills;
  };
}
