import { readFile } from 'node:fs/promises';
import { messageOf } from '../spiffe/errors.ts';
import { textOf } from '../spiffe/pki/text.ts';
import type { Config } from './config/config.ts';
import { formatProblems, loadConfig } from './config/load.ts';
import { run } from './main.ts';
import { createLogger } from './observe/log.ts';
import { standardOutput } from './observe/output.ts';

/**
 * `kubespiffe signer`: reads the configuration, runs until SIGTERM or SIGINT, drains.
 *
 * @param argv the arguments after `signer`.
 * @returns the exit code: 0 after a clean end, 1 after a failure, 2 for a configuration that cannot be used.
 */
export async function runSigner(argv: readonly string[]): Promise<number> {
  const loaded = await loadConfig({
    argv,
    env: process.env,
    readFile: async (path) => textOf(await readFile(path)),
  });
  switch (loaded.kind) {
    case 'help':
      process.stdout.write(loaded.text);
      return 0;
    case 'problems':
      process.stderr.write(`${formatProblems(loaded.problems)}\n`);
      return 2;
    case 'config':
      if (loaded.checkOnly) {
        process.stdout.write(loaded.summary);
        return 0;
      }
      return serve(loaded.config);
  }
}

async function serve(config: Config): Promise<number> {
  const output = standardOutput();
  const log = createLogger({ level: config.logLevel, destination: output.log });
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopping.abort(signal));
  process.on('SIGUSR1', () => {
    const logLevel = log.level === 'debug' ? config.logLevel : 'debug';
    log.level = logLevel;
    log.info({ logLevel }, 'log level changed');
  });
  try {
    await run(config, { log, output }, stopping.signal);
    return 0;
  } catch (error) {
    log.fatal(messageOf(error));
    return 1;
  }
}
