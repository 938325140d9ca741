import type { Command } from 'commander';
import type { DevOptions, WorkloadName } from '../../dev/start.ts';
import { namespacedName } from '../../signer/config/values.ts';
import { devTrustDomain, isDevTrustDomain, parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { parseSeconds } from '../duration.ts';
import { CliError } from '../errors.ts';
import { withExamples } from '../help.ts';
import type { Terminal } from '../terminal.ts';

interface Options {
  workload: readonly string[];
  trustDomain: string;
  lifetime: string;
  folder?: string;
}

const defaultWorkloads = ['shop/web', 'shop/api'];
const lifetimes = { min: 4, max: 86_400 } as const;

/** `kubespiffe dev`: a trust domain on a laptop, until Ctrl-C. */
export function dev(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('dev')
    .description(
      'Run a trust domain on this machine, for development.\n\n' +
        'Each workload gets a folder with its certificate and the roots, as a pod has it, renewed like there but every\n' +
        'few minutes. It needs no cluster and no privileges. Everything is in a folder that only you can enter, and ends\n' +
        'with the command. Not for production.',
    );
  withExamples(
    command,
    `
    # Two workloads, shop/web and shop/api
    kubespiffe dev

    # Other workloads, and certificates that live 30 seconds
    kubespiffe dev --workload billing/ledger --workload billing/bank --lifetime 30s`,
  );
  return command
    .option(
      '--workload <namespace/name>',
      `A workload by its ServiceAccount; repeat for several. (default: ${defaultWorkloads.join(', ')})`,
      (value: string, earlier: readonly string[]) => [...earlier, value],
      [],
    )
    .option('--trust-domain <name>', `${devTrustDomain}, or a name below it.`, devTrustDomain)
    .option('--lifetime <duration>', 'How long certificates are valid: 4s to 24h.', '5m')
    .option('--folder <path>', 'Where the files are. (default: $XDG_RUNTIME_DIR/kubespiffe-dev, or in /tmp)')
    .action(async (options: Options) => {
      const stopping = new AbortController();
      const stop = () => stopping.abort();
      process.once('SIGTERM', stop).once('SIGINT', stop);
      const started = await startWith(options, terminal);
      terminal.out(describe(started.workloads, options));
      await started.run(stopping.signal);
    });
}

async function startWith(options: Options, terminal: Terminal) {
  const [{ startDev }, { defaultFolder }] = await Promise.all([
    import('../../dev/start.ts'),
    import('../../dev/private-folder.ts'),
  ]);
  const uid = process.getuid?.() ?? 0;
  const read: DevOptions = {
    folder: options.folder ?? defaultFolder(terminal.env, uid),
    uid,
    trustDomain: trustDomainOf(options),
    lifetimeSeconds: lifetimeOf(options),
    workloads: (options.workload.length > 0 ? options.workload : defaultWorkloads).map(workloadOf),
    log: (line) => terminal.err(`${line}\n`),
  };
  return startDev(read);
}

function describe(workloads: Awaited<ReturnType<typeof startWith>>['workloads'], options: Options): string {
  const { trustDomain, lifetime } = options;
  const lines = workloads.flatMap(({ spiffeId, folder }) => [`${spiffeId}`, `  files  ${folder}`, '']);
  return [
    `Trust domain ${trustDomain}, for development only. Certificates live ${lifetime}. Ctrl-C ends it.`,
    '',
    ...lines,
  ].join('\n');
}

function workloadOf(text: string): WorkloadName {
  const read = namespacedName.parse(text);
  if (read.ok) return read.value;
  throw new CliError(
    'USAGE',
    `--workload ${text} ${read.reason}`,
    'name the ServiceAccount, such as shop/web',
  );
}

function trustDomainOf({ trustDomain }: Options): string {
  const read = parseTrustDomain(trustDomain);
  if (!read.ok) throw new CliError('USAGE', `--trust-domain ${trustDomain}: ${read.reason}`);
  if (isDevTrustDomain(trustDomain)) return trustDomain;
  const what = `--trust-domain ${trustDomain} could be that of a cluster`;
  throw new CliError(
    'USAGE',
    what,
    `choose ${devTrustDomain}, or a name below it such as team.${devTrustDomain}`,
  );
}

function lifetimeOf({ lifetime }: Options): number {
  const seconds = parseSeconds(lifetime, '--lifetime');
  const { min, max } = lifetimes;
  if (seconds >= min && seconds <= max) return seconds;
  throw new CliError('USAGE', `--lifetime ${lifetime} is not between 4s and 24h`, 'try 30s');
}
