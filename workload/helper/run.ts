import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { HelperConfig } from './config.ts';
import { pemOf } from './material.ts';
import { reload } from './reload.ts';
import { type HelperSource, openSource } from './source.ts';
import { writeFiles } from './write-files.ts';

export interface HelperNeeds {
  /** Takes one line for each thing that was done. */
  readonly log: (line: string) => void;
  /** Takes what is wrong, once for each problem until it is solved. */
  readonly warn: (problem: KubespiffeError) => void;
  /** Ends the helper. */
  readonly signal: AbortSignal;
}

/** After a failure, and then twice as long each time. */
const retryMs = 1_000;
const longestRetryMs = 30_000;
/** How long the helper waits for a source when it runs once. */
const onceTimeoutMs = 30_000;

/**
 * Writes the files and, unless it is to run once, writes them again after each change and lets programs reload them.
 *
 * @throws KubespiffeError the last problem, where the files cannot be written once.
 */
export async function runHelper(config: HelperConfig, { log, warn, signal }: HelperNeeds): Promise<void> {
  const deadline = performance.now() + onceTimeoutMs;
  let woken = new AbortController();
  let source: HelperSource | undefined;
  let mustReload = !config.once;
  let failures = 0;
  let warned: string | undefined;

  /** @returns whether all is done, until something changes. */
  const step = async (): Promise<boolean> => {
    source ??= await openSource(config.source, () => woken.abort(), warn);
    const material = source.material();
    const files = config.files.map(({ name, mode, content }) => ({
      name,
      mode,
      content: pemOf(content.parts, material),
    }));
    if (await writeFiles(config.folder, files)) {
      const { id, notAfter } = material.svid;
      log(`wrote ${files.length} files to ${config.folder}: ${id.uri}, valid until ${rfc3339(notAfter)}`);
      mustReload = !config.once;
    }
    if (!mustReload) return true;
    const { mtimeMs } = await lstat(join(config.folder, '..data'));
    const done = await reload(config.reload, mtimeMs, signal);
    for (const line of done ?? []) log(line);
    mustReload = done === undefined;
    return !mustReload;
  };

  try {
    while (!signal.aborted) {
      woken = new AbortController();
      let delayMs: number | undefined;
      try {
        const isDone = await step();
        if (isDone && config.once) return;
        warned = undefined;
        failures = 0;
        delayMs = isDone ? undefined : retryMs;
      } catch (error) {
        if (signal.aborted) return;
        const problem =
          error instanceof KubespiffeError ? error : new KubespiffeError('FILE_UNWRITABLE', messageOf(error));
        if (config.once && performance.now() > deadline) throw problem;
        if (problem.message !== warned) warn(problem);
        warned = problem.message;
        delayMs = Math.min(retryMs * 2 ** failures++, longestRetryMs);
      }
      const until = AbortSignal.any([signal, woken.signal]);
      await pause(delayMs ?? 2 ** 31 - 1, undefined, { signal: until }).catch(() => undefined);
    }
  } finally {
    await source?.[Symbol.asyncDispose]();
  }
}
