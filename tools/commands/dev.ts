import type { Dev, DevOptions } from '../../dev/start.ts';
import { devTrustDomain, isDevTrustDomain } from '../../spiffe/trust-domain.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { folderOf, ownUid, withFolder, workloadOf } from '../dev-options.ts';
import { parseSeconds } from '../duration.ts';
import { usageError } from '../errors.ts';
import { parsePort } from '../port.ts';
import { abortAtSignal, type Terminal } from '../terminal.ts';
import { trustDomainFlag } from '../trust-domain.ts';
import { devControl } from './dev-control.ts';
import { devRun } from './dev-run.ts';

interface Options {
  readonly workload?: readonly string[];
  readonly trustDomain: string;
  readonly lifetime: string;
  readonly port: string;
  readonly folder?: string;
}

const defaultWorkloads = ['shop/web', 'shop/api'];
const lifetimes = { min: 4, max: 86_400 } as const;

/** `kubespiffe dev`: a trust domain on a laptop, until Ctrl-C. */
export const dev: AddCommand = (parent, terminal, done) => {
  const command = addCommand(parent, 'dev', {
    description:
      'Run a trust domain on this machine, for development.\n\n' +
      'Each workload gets a Workload API, and a folder with its certificate, the roots and a token, as in a pod. They are\n' +
      'renewed as in a cluster, but every few minutes. It needs no cluster and no privileges. Everything is in a folder\n' +
      'that only you can enter, and ends with the command. Not for production.',
    examples: `
    # Two workloads, shop/web and shop/api
    kubespiffe dev

    # Other workloads, and certificates that are valid for 30 seconds
    kubespiffe dev --workload billing/ledger --workload billing/bank --lifetime 30s`,
    options: [withFolder],
  })
    .option(
      '--workload <namespace/name>',
      `A workload by its ServiceAccount; repeat for several. (default: ${defaultWorkloads.join(', ')})`,
      (value: string, earlier: readonly string[] = []) => [...earlier, value],
    )
    .option('--trust-domain <name>', `${devTrustDomain}, or a name below it.`, devTrustDomain)
    .option('--lifetime <duration>', 'How long certificates are valid: 4s to 24h.', '5m')
    .option('--port <number>', 'Port of the token endpoint on loopback; 0 chooses a free one.', '8643')
    .action(async (options: Options) => {
      const stopping = abortAtSignal();
      const read = readOptions(options, terminal);
      const { startDev } = await import('../../dev/start.ts');
      try {
        const started = await startDev(read, stopping.signal);
        terminal.out(describe(started, options));
        await started.run();
      } catch (error) {
        // Ended while it started.
        if (!stopping.signal.aborted) throw error;
      } finally {
        stopping.abort();
      }
    });
  for (const add of [devRun, ...devControl]) add(command, terminal, done);
  return command;
};

function readOptions(options: Options, terminal: Terminal): DevOptions {
  const { workload = defaultWorkloads } = options;
  return {
    folder: folderOf(options, terminal),
    uid: ownUid(),
    trustDomain: trustDomainOf(options),
    lifetimeSeconds: lifetimeOf(options),
    workloads: workload.map(workloadOf),
    port: parsePort(options.port, 'choose one from 1024 to 65535, or 0'),
    log: (line) => terminal.err(`${line}\n`),
  };
}

function describe({ workloads, tokenEndpoint }: Dev, { trustDomain, lifetime }: Options): string {
  const lines = workloads.flatMap(({ spiffeId, folder, socket }) => [
    spiffeId,
    `  files         ${folder}`,
    `  Workload API  ${socket.uri}`,
    '',
  ]);
  return [
    `Trust domain ${trustDomain}, for development only. Certificates are valid for ${lifetime}. Ctrl-C ends it.`,
    '',
    ...lines,
    `token endpoint  ${tokenEndpoint}`,
    '',
    '',
  ].join('\n');
}

function trustDomainOf({ trustDomain }: Options): string {
  if (isDevTrustDomain(trustDomainFlag(trustDomain))) return trustDomain;
  const what = `--trust-domain ${trustDomain} could be that of a cluster`;
  throw usageError(what, `choose ${devTrustDomain}, or a name below it such as team.${devTrustDomain}`);
}

function lifetimeOf({ lifetime }: Options): number {
  const seconds = parseSeconds(lifetime, '--lifetime');
  const { min, max } = lifetimes;
  if (seconds >= min && seconds <= max) return seconds;
  throw usageError(`--lifetime ${lifetime} is not between 4s and 24h`, 'try 30s');
}
