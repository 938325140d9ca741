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

/** How long the pods rest between two calls, and those who watch them between two looks, in milliseconds. */
export const paces = {
  usual: { callsMs: 100, witnessMs: 200, judgeMs: 500 },
  /** For hours, in which others need the machine. */
  slow: { callsMs: 1_000, witnessMs: 1_000, judgeMs: 5_000 },
} as const;

export async function startScene(
  choice: ClusterChoice,
  wishes: InstallationWishes,
  { callsMs, witnessMs, judgeMs }: (typeof paces)[keyof typeof paces] = paces.usual,
): Promise<Scene> {
  const judges = await openJudges();
  const pySpiffe = await openPySpiffe();
  const usual = [`KUBESPIFFE_ROOT_PROPAGATION_DELAY=${propagationSeconds}s`, 'KUBESPIFFE_MAX_LIFETIME=1h'];
  const installation = await install(choice, {
    ...wishes,
    settings: [...usual, ...(wishes.settings ?? [])],
  });
  await startRing(installation, callsMs);
  const witness = startWitness(installation, witnessMs);
  const held = judgeWhatIsHeld(installation, { judges, pySpiffe, restMs: judgeMs });
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
