import assert from 'node:assert/strict';
import { type Judges, openJudges } from '../../judges/judges.ts';
import { openPySpiffe } from '../../judges/py-spiffe.ts';
import type { ClusterChoice } from '../clusters.ts';
import { type Installation, type InstallationWishes, install } from '../installation.ts';
import { type HeldJudge, judgeWhatIsHeld } from './held.ts';
import { failures, moreAnswers, startRing } from './ring.ts';
import { startWitness, type Witness } from './witness.ts';

/** A signer in a cluster, and pods that call each other while everything that they hold is judged. */
export interface Scene {
  readonly installation: Installation;
  readonly judges: Judges;
  readonly witness: Witness;
  readonly held: HeldJudge;
  /** No call has failed, no certificate was without its root, and no judge has refused what a pod holds. */
  allIsWell(answers?: number): Promise<void>;
  stop(): Promise<void>;
}

export const propagationSeconds = 30;
/** The options of `kubespiffe ca` for the settings that every scene has. */
export const timing = ['--propagation-delay', `${propagationSeconds}s`, '--max-lifetime', '1h'];

export async function startScene(choice: ClusterChoice, wishes: InstallationWishes): Promise<Scene> {
  const judges = await openJudges();
  const pySpiffe = await openPySpiffe();
  const usual = [`KUBESPIFFE_ROOT_PROPAGATION_DELAY=${propagationSeconds}s`, 'KUBESPIFFE_MAX_LIFETIME=1h'];
  const installation = await install(choice, {
    ...wishes,
    settings: [...usual, ...(wishes.settings ?? [])],
  });
  await startRing(installation);
  const witness = startWitness(installation);
  const held = judgeWhatIsHeld(installation, { judges, pySpiffe });
  return {
    ...{ installation, judges, witness, held },
    async allIsWell(answers = 10) {
      assert.deepEqual(failures(await moreAnswers(installation, { answers })), []);
      assert.deepEqual([...witness.problems], []);
      assert.deepEqual(held.problems, []);
    },
    async stop() {
      await Promise.all([witness.stop(), held.stop()]);
      await installation.stop();
    },
  };
}
