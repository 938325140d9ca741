import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { writeFiles } from '../write-files.ts';
import type { HelperConfig } from './config.ts';
import { createRenderer, type Rendered } from './content.ts';
import type { HelperState } from './health.ts';
import { reload } from './reload.ts';
import { type HelperSource, openSource } from './source.ts';

export interface HelperNeeds {
  /** Takes one line for each thing that was done. */
  readonly log: (line: string) => void;
  /** Takes what is wrong, once for each problem until it is solved. */
  readonly warn: (problem: KubespiffeError) => void;
  /** Where HTTPS_PROXY and NO_PROXY are looked for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends the helper. */
  readonly signal: AbortSignal;
  /** How long a helper that runs once tries. Default 30000. */
  readonly onceTimeoutMs?: number;
}

/** After a failure, and then twice as long each time. */
const retryMs = 1_000;
const longestRetryMs = 30_000;
/** A program that starts beside the helper may not run yet: so many failures of a reload are no problem, which is 7 s. */
const patientTries = 3;
const unwritableHint = 'mount a folder that the helper may write to, such as an emptyDir with medium Memory';
/** A longer timer would fire at once. */
const longestMs = 2 ** 31 - 1;

/**
 * Writes the files, again after each change, and lets programs reload them; or, where it is to run once, writes them and ends.
 *
 * @throws KubespiffeError the last problem, if a helper that runs once could not write all files in time or was stopped before;
 *   CONFIG_INVALID for a health port that is in use.
 */
export async function runHelper(config: HelperConfig, needs: HelperNeeds): Promise<void> {
  const ended = new AbortController();
  try {
    await run(config, { ...needs, signal: AbortSignal.any([needs.signal, ended.signal]) });
  } finally {
    ended.abort();
  }
}

async function run(config: HelperConfig, needs: HelperNeeds): Promise<void> {
  const { warn, signal, onceTimeoutMs = 30_000 } = needs;
  const deadline = performance.now() + onceTimeoutMs;
  const state: HelperState = { isWritten: false };
  let woken = new AbortController();
  let warned: string | undefined;
  let last: KubespiffeError | undefined;
  if (config.health && !config.once) {
    // Loaded only here, as HTTPS for tokens: each costs megabytes in every pod.
    const { serveHealth } = await import('./health.ts');
    await serveHealth(config.health, state, signal);
  }
  const step = createStep(config, state, needs, () => woken.abort());

  for (let failures = 0; !signal.aborted; ) {
    woken = new AbortController();
    let delayMs: number;
    try {
      delayMs = await step();
      if (config.once) return;
      failures = 0;
      state.problem = undefined;
      warned = undefined;
    } catch (error) {
      if (signal.aborted) break;
      const problem =
        error instanceof KubespiffeError ? error : new KubespiffeError('FILE_UNWRITABLE', messageOf(error));
      last = problem;
      if (config.once && performance.now() > deadline) throw problem;
      const isEarly = problem.code === 'RELOAD_FAILED' && failures < patientTries;
      if (!isEarly && problem.message !== warned) warn(problem);
      warned = isEarly ? warned : problem.message;
      state.problem = problem.message;
      delayMs = Math.min(retryMs * 2 ** failures, longestRetryMs);
      failures += 1;
    }
    const until = AbortSignal.any([signal, woken.signal]);
    await pause(Math.min(delayMs, longestMs), undefined, { signal: until }).catch(() => undefined);
  }
  // The containers that follow need the files, so an init container without them has failed.
  if (config.once)
    throw last ?? new KubespiffeError('FILE_UNWRITABLE', 'ended before the files were written');
}

/**
 * Makes the function that does what there is to do: open the source, write the files, reload. It returns after how many
 * milliseconds it has to be called again although nothing has changed, and throws the first problem after all that could be done.
 */
function createStep(
  config: HelperConfig,
  state: HelperState,
  { log, warn, env, signal }: HelperNeeds,
  onUpdate: () => void,
): () => Promise<number> {
  const { folder, once } = config;
  const renderers = config.files.map((file) => ({ ...file, render: createRenderer(file.content) }));
  let source: HelperSource | undefined;
  let mustReload = !once;

  return async () => {
    source ??= await openSource(config, { onUpdate, onProblem: warn, env, signal });
    const opened = source;
    const { svid } = source.material();
    const found = await Promise.allSettled(renderers.map(({ render }) => render(opened)));
    const renderedAt = (index: number): Rendered | undefined =>
      found[index]?.status === 'fulfilled' ? found[index].value : undefined;
    const files = renderers.map(({ name, mode }, index) => ({
      name,
      mode,
      content: renderedAt(index)?.bytes,
    }));
    const problem = found.find((one) => one.status === 'rejected')?.reason;

    if (await writeFiles(folder, files, unwritableHint)) {
      log(`wrote the files in ${folder}: ${svid.id.uri}, certificate valid until ${rfc3339(svid.notAfter)}`);
      mustReload = !once;
    }
    state.isWritten ||= problem === undefined;
    Object.assign(state, { spiffeId: svid.id.uri, notAfter: svid.notAfter });
    if (mustReload) {
      const { mtimeMs } = await lstat(join(folder, '..data'));
      const done = await reload(config.reload, mtimeMs, signal);
      for (const line of done ?? []) log(line);
      mustReload = done === undefined;
    }
    if (problem !== undefined) throw problem;
    if (mustReload) return retryMs;
    const renewals = found.map((_, index) => renderedAt(index)?.renewAt ?? Number.POSITIVE_INFINITY);
    return Math.max(retryMs, Math.min(...renewals) - Date.now());
  };
}
