import { type Command, InvalidArgumentError, Option } from 'commander';
import { parse as parseYaml } from 'yaml';
import {
  type PoolDocument,
  poolKind,
  readPoolDocument,
  writePoolDocument,
} from '../../signer/authority/document.ts';
import { compilePool } from '../../signer/authority/pool.ts';
import { newPoolSecret, poolJsonIn, serializePool } from '../../signer/authority/pool-secret.ts';
import { type RestoredPool, restoredPool } from '../../signer/authority/restore.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { textOf } from '../../signer/pki/text.ts';
import {
  type ClusterOptions,
  createSecret,
  getSecret,
  replaceSecret,
  serverClock,
  withApi,
  withCluster,
} from '../api.ts';
import { CliError, poolError } from '../errors.ts';
import { withExamples } from '../help.ts';
import { withSecretName } from '../pool-secret.ts';
import { nameOfInput, readInput } from '../read-input.ts';
import { requiredOption } from '../required.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions {
  namespace: string;
  name: string;
  from: string;
  publishedSequence?: number;
  dropAuthority: string[];
  replaceUnreadable?: true;
  dryRun?: 'none' | 'server';
}

/** `kubespiffe ca restore`: a copy of a pool takes the place of what is there, with a sequence above all before. */
export function caRestore(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('restore')
    .description(
      'Put a copy of a pool Secret back.\n\n' +
        'Those who poll the bundle take the one with the greater sequence, so the sequence of the copy is raised above\n' +
        'all that were published. An authority that was tainted since the copy was made stays tainted. What only\n' +
        'the pool that is there has is kept, as there may be certificates and tokens that only that verifies.',
    );
  withExamples(
    command,
    `
    # Keep a copy where keys may be, and put it back
    kubectl get secret -n kubespiffe kubespiffe-pool -o yaml > pool.yaml
    kubespiffe ca restore --from pool.yaml

    # See first what it would keep, taint and leave out
    kubespiffe ca restore --from pool.yaml --dry-run

    # A sequence above the time had been set by hand, as the signers say
    kubespiffe ca restore --from pool.yaml --published-sequence 4000000000

    # What was added since is not to stay, and nobody has anything that was signed with it
    kubespiffe ca restore --from pool.yaml --drop-authority ca-2`,
  );
  requiredOption(
    withSecretName(command),
    '--from <file>',
    'The copy: a Secret in YAML or JSON, or the JSON of the pool; - is standard input.',
  );
  withCluster(command)
    .option(
      '--published-sequence <number>',
      'The highest spiffe_sequence that was published, where that is above the time in seconds.',
      parseSequence,
    )
    .option(
      '--drop-authority <id>',
      'Leave out an authority that only the pool that is there has, and lose it. May be repeated.',
      (id: string, others: string[]) => [...others, id],
      [],
    )
    .option('--replace-unreadable', 'Replace a pool that cannot be read, and lose whatever only that has.')
    .addOption(
      new Option('--dry-run [mode]', 'Write nothing: say what would be, and have the API server check it.')
        .choices(['none', 'server'])
        .preset('server'),
    )
    .action(async (options: Options) => {
      const { namespace, name } = options;
      const isDryRun = options.dryRun === 'server';
      const copy = poolIn(textOf(await readInput(terminal, options.from)), options.from);
      const restored = await withApi(options, terminal, async (api) => {
        const clock = serverClock(api);
        const secret = await getSecret(api, namespace, name);
        const live = secret && livePoolOf(secret, options);
        const restored = restore(copy, live, options, clock() ?? Math.floor(terminal.now() / 1000));
        if (secret) {
          const data = { ...secret.data, ...serializePool(restored.pool) };
          await replaceSecret(api, { ...secret, data }, isDryRun);
        } else {
          await createSecret(api, newPoolSecret(options, restored.pool), isDryRun);
        }
        return restored;
      });
      const { pool, stillTainted, kept, dropped } = restored;
      const how = isDryRun ? ' (server dry run)' : '';
      terminal.out(
        `secret/${name} restored in namespace ${namespace}${how}, ` +
          `sequence ${pool.sequence} (the copy had ${copy.sequence})\n`,
      );
      const warn = (text: string) => terminal.err(`warning: ${text}\n`);
      for (const id of stillTainted)
        warn(`authority ${id} was tainted after the copy was made, and stays so`);
      for (const { id, state } of kept) {
        warn(`authority ${id} is kept from the pool that was there, ${state}: the copy does not publish it`);
      }
      for (const id of dropped) warn(`authority ${id} is gone, as was asked for`);
    });
  return command;
}

/** @param now seconds since the epoch. @throws CliError where the copy does not fit to what is there, or is broken. */
function restore(
  copy: PoolDocument,
  live: PoolDocument | undefined,
  options: Options,
  now: number,
): RestoredPool {
  const { namespace, name, publishedSequence, dropAuthority } = options;
  if (live && live.trustDomain !== copy.trustDomain) {
    throw new CliError(
      'POOL_INVALID',
      `the copy is of trust domain ${copy.trustDomain}, and Secret ${namespace}/${name} of ${live.trustDomain}`,
      'choose the Secret that the copy is of',
    );
  }
  const compiled = compilePool(copy, copy.trustDomain);
  if (!compiled.ok) throw poolError(compiled.problem);
  const restored = restoredPool(copy, {
    ...(live && { live }),
    ...(publishedSequence !== undefined && { publishedSequence }),
    dropped: dropAuthority,
    now,
  });
  const notThere = dropAuthority.find((id) => !restored.dropped.includes(id));
  if (notThere !== undefined) {
    const what = `${notThere} is no authority that only the pool of Secret ${namespace}/${name} has`;
    const hint = `\`kubespiffe ca show --namespace ${namespace} --name ${name}\` shows those that it has`;
    throw new CliError('POOL_INVALID', what, hint);
  }
  // The copy alone is sound: what is kept may have faults of its own, or be too much.
  const read = readPoolDocument(writePoolDocument(restored.pool));
  const together = read.ok ? compilePool(read.document, copy.trustDomain) : read;
  if (!together.ok) {
    const { field, what } = together.problem;
    const ids = restored.kept.map(({ id }) => id).join(', ');
    throw new CliError(
      'POOL_INVALID',
      `the copy does not go together with what only the pool that is there has (${ids}): ${field}: ${what}`,
      'leave out with --drop-authority what may be lost',
    );
  }
  return restored;
}

/**
 * The pool that is there, undefined for none. A broken one may be what is to be repaired, but what it knew is lost then.
 * @throws CliError for a pool that cannot be read and is not to be replaced for all that.
 */
function livePoolOf(
  secret: Secret,
  { namespace, name, replaceUnreadable }: Options,
): PoolDocument | undefined {
  const json = poolJsonIn(secret);
  if (!json) return undefined;
  const read = readPoolDocument(json);
  if (read.ok) return read.document;
  if (replaceUnreadable) return undefined;
  throw new CliError(
    'POOL_INVALID',
    `what is in Secret ${namespace}/${name} cannot be read (${read.problem.field}: ${read.problem.what}), so nobody ` +
      'knows which of its authorities are tainted, or missing in the copy',
    `keep it with \`kubectl get secret -n ${namespace} ${name} -o yaml\`, and replace it with --replace-unreadable`,
  );
}

/** @throws CliError for what is neither a Secret with a pool nor a pool, without any part of the text. */
function poolIn(text: string, file: string): PoolDocument {
  let value: { kind?: unknown; data?: Record<string, unknown> } | null = null;
  try {
    value = parseYaml(text, { logLevel: 'silent' });
  } catch {
    // Told below: the parser's own message quotes the text, and that may be a key.
  }
  const json = value?.kind === poolKind ? JSON.stringify(value) : poolJsonIn(value ?? {});
  if (json === undefined) {
    const hint = 'make one with `kubectl get secret -n NAMESPACE NAME -o yaml`';
    throw new CliError('POOL_INVALID', `${nameOfInput(file)} holds neither a pool Secret nor a pool`, hint);
  }
  const read = readPoolDocument(json);
  if (!read.ok) throw poolError(read.problem);
  return read.document;
}

function parseSequence(text: string): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new InvalidArgumentError('It is a whole number.');
  return value;
}
