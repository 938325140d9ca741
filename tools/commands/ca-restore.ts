import { type Command, InvalidArgumentError } from 'commander';
import { parse as parseYaml } from 'yaml';
import { type PoolDocument, poolKind, readPoolDocument } from '../../signer/authority/document.ts';
import { compilePool, poolSecret, serializePool } from '../../signer/authority/pool.ts';
import { blindRaise, restoredPool } from '../../signer/authority/restore.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { type ClusterOptions, createSecret, getSecret, replaceSecret, withApi, withCluster } from '../api.ts';
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
}

/** `kubespiffe ca restore`: a copy of a pool takes the place of what is there, with a sequence above all before. */
export function caRestore(parent: Command, terminal: Terminal): Command {
  const command = parent
    .command('restore')
    .description(
      'Put a copy of a pool Secret back.\n\n' +
        'Those who poll the bundle take the one with the greater sequence, so the sequence of the copy is raised above\n' +
        'that of the pool that is there. An authority that was tainted since the copy was made stays tainted.',
    );
  withExamples(
    command,
    `
    # Keep a copy where keys may be, and put it back
    kubectl get secret -n kubespiffe kubespiffe-pool -o yaml > pool.yaml
    kubespiffe ca restore -n kubespiffe --name kubespiffe-pool --from pool.yaml

    # The Secret is gone; what was published last is in a bundle that somebody fetched
    kubespiffe ca restore -n kubespiffe --name kubespiffe-pool --from pool.yaml --published-sequence 17`,
  );
  requiredOption(
    withSecretName(command),
    '--from <file>',
    'The copy: a Secret in YAML or JSON, or the JSON of the pool; - is standard input.',
  );
  withCluster(command)
    .option(
      '--published-sequence <number>',
      'The highest spiffe_sequence that was published, as `kubespiffe bundle show` tells it.',
      parseSequence,
    )
    .action(async (options: Options) => {
      const { namespace, name, publishedSequence } = options;
      const copy = poolIn((await readInput(terminal, options.from)).toString('utf8'), options.from);
      const { pool, stillTainted, isNew } = await withApi(options, terminal, async (api) => {
        const secret = await getSecret(api, namespace, name);
        const live = secret && livePoolOf(secret);
        if (live && live.trustDomain !== copy.trustDomain) {
          throw new CliError(
            'POOL_INVALID',
            `the copy is of trust domain ${copy.trustDomain}, and Secret ${namespace}/${name} of ${live.trustDomain}`,
            'choose the Secret that the copy is of',
          );
        }
        const restored = restoredPool(copy, {
          ...(live && { live }),
          ...(publishedSequence !== undefined && { publishedSequence }),
        });
        const compiled = compilePool(restored.pool, restored.pool.trustDomain);
        if (!compiled.ok) throw poolError(compiled.problem);
        const data = serializePool(restored.pool);
        if (secret) await replaceSecret(api, { ...secret, data: { ...secret.data, ...data } });
        else {
          const metadata = { namespace, name, labels: { ...poolSecret.labels } };
          const made = {
            apiVersion: 'v1',
            kind: 'Secret',
            type: poolSecret.type,
            metadata,
            data,
          } satisfies Secret;
          await createSecret(api, made, false);
        }
        return { ...restored, isNew: !live };
      });
      terminal.out(`secret/${name} restored, sequence ${pool.sequence} (the copy had ${copy.sequence})\n`);
      for (const id of stillTainted) {
        terminal.err(`warning: authority ${id} was tainted after the copy was made, and stays so\n`);
      }
      if (isNew && publishedSequence === undefined) {
        terminal.err(
          `warning: there was no pool to compare with, so the sequence was raised by ${blindRaise}; where more was ` +
            'published, restore again with --published-sequence\n',
        );
      }
    });
  return command;
}

/** The pool that is there. A broken one may be what is to be repaired: then there is nothing to compare with. */
function livePoolOf(secret: Secret): PoolDocument | undefined {
  const read = readPoolDocument(Buffer.from(secret.data?.[poolSecret.key] ?? '', 'base64').toString('utf8'));
  return read.ok ? read.document : undefined;
}

/** @throws CliError for what is neither a Secret with a pool nor a pool, without any part of the text. */
function poolIn(text: string, file: string): PoolDocument {
  let value: { kind?: unknown; data?: Record<string, unknown> } | null = null;
  try {
    value = parseYaml(text, { logLevel: 'silent' });
  } catch {
    // Told below: the parser's own message quotes the text, and that may be a key.
  }
  const encoded = value?.data?.[poolSecret.key];
  const json =
    value?.kind === poolKind
      ? JSON.stringify(value)
      : typeof encoded === 'string'
        ? Buffer.from(encoded, 'base64').toString('utf8')
        : undefined;
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
