import { InvalidArgumentError } from 'commander';
import { parse as parseYaml } from 'yaml';
import { type PoolDocument, poolKind } from '../../signer/authority/document.ts';
import { rootOf } from '../../signer/authority/material.ts';
import { compilePool, type Pool } from '../../signer/authority/pool.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { restoredPool } from '../../signer/authority/restore.ts';
import { longestCertificateSeconds } from '../../signer/authority/signed-until.ts';
import {
  carryRoots,
  dateTransitions,
  retireAuthority,
  writablePool,
} from '../../signer/authority/transitions.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { printable, textOf } from '../../spiffe/pki/text.ts';
import { getSecret, savePool, serverClock, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand, required } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { poolError, poolInvalid } from '../errors.ts';
import {
  type ClusterRoots,
  describeRoots,
  readClusterRoots,
  withBundleSuffix,
} from '../pool/cluster-roots.ts';
import { serverDryRun } from '../pool/pool-change.ts';
import {
  checkedPool,
  notYetSigning,
  type PoolOptions,
  withAllowUnusable,
  withSecretName,
} from '../pool/pool-secret.ts';
import { nameOfInput, readInput } from '../read-input.ts';

interface Options extends PoolOptions {
  from: string;
  publishedSequence?: number;
  dropAuthority: string[];
  maxLifetime: string;
  bundleSuffix: string;
  forceDrop?: true;
  allowUnusable?: true;
  replaceUnreadable?: true;
  dryRun?: 'none' | 'server';
}

/** `kubespiffe ca restore`: a copy of a pool replaces the live one, with a sequence above all before. */
export const caRestore: AddCommand = (parent, terminal) =>
  addCommand(parent, 'restore', {
    description:
      'Put a copy of a pool Secret back.\n\n' +
      'Readers of the bundle keep the one with the greatest sequence, so the sequence of the copy is raised above all\n' +
      'that were published. An authority that was tainted or retired since the copy was made stays so. Roots and keys\n' +
      'that exist only in the current pool, or only in its ClusterTrustBundle, are kept. They may verify certificates\n' +
      'and tokens that are in use.',
    examples: `
    # Make a copy in a place that is safe for keys, and put it back
    kubectl get secret -n kubespiffe kubespiffe-pool -o yaml > ~/kubespiffe-pool.yaml
    kubespiffe ca restore --from ~/kubespiffe-pool.yaml

    # See first what it would keep, taint and leave out
    kubespiffe ca restore --from ~/kubespiffe-pool.yaml --dry-run

    # The signers report that a sequence above the current time was set by hand
    kubespiffe ca restore --from ~/kubespiffe-pool.yaml --published-sequence 4000000000

    # Take out an authority that stopped signing more than a day ago, which is the maxLifetime of the signer
    kubespiffe ca restore --from ~/kubespiffe-pool.yaml --drop-authority ca-1 --max-lifetime 24h`,
    options: [
      withSecretName,
      required(
        '--from <file>',
        'The copy: a Secret in YAML or JSON, or the JSON of the pool; - is standard input.',
      ),
      withCluster,
      withBundleSuffix,
      withAllowUnusable,
    ],
  })
    .option(
      '--published-sequence <number>',
      'The highest spiffe_sequence ever published. Needed only if it is above the current Unix time and no ' +
        'ClusterTrustBundle has it.',
      parseSequence,
    )
    .option(
      '--drop-authority <id>',
      'Take an authority out of the bundles, by its id or the SHA-256 of its root. May be repeated.',
      (id: string, others: string[]) => [...others, id],
      [],
    )
    .option(
      '--max-lifetime <duration>',
      "The signer's maxLifetime. An authority may be dropped this long after it stopped signing.",
      `${longestCertificateSeconds / 3600}h`,
    )
    .option('--force-drop', 'Drop it even if what it signed may be in use. Connections break.')
    .option('--replace-unreadable', 'Replace a pool that cannot be read, and lose what only that pool has.')
    .addOption(serverDryRun())
    .action(async (options: Options) => {
      const { namespace, name } = options;
      const isDryRun = options.dryRun === 'server';
      const copy = poolIn(textOf(await readInput(terminal, options.from)), options.from);
      const { document, warnings } = await withApi(options, terminal, async (api) => {
        const clock = serverClock(api);
        const secret = await getSecret(api, namespace, name);
        const live = secret && livePoolOf(secret, options);
        const published = await readClusterRoots(api, copy.trustDomain, options.bundleSuffix);
        const now = clock() ?? Math.floor(terminal.now() / 1000);
        const restored = restore(copy, live, published, options, now);
        await savePool(api, options, secret, restored.document, isDryRun);
        return restored;
      });
      const how = isDryRun ? ' (server dry run)' : '';
      terminal.out(
        `secret/${name} restored in namespace ${namespace}${how}, sequence ${document.sequence} (the copy had ${copy.sequence})\n`,
      );
      for (const warning of warnings) terminal.err(`warning: ${printable(warning)}\n`);
    });

/** @param now seconds since the epoch. @throws CliError where the copy does not belong to the live pool, or is broken. */
function restore(
  copy: PoolDocument,
  live: PoolDocument | undefined,
  published: ClusterRoots,
  options: Options,
  now: number,
): { document: PoolDocument; warnings: string[] } {
  const { namespace, name, publishedSequence = 0, maxLifetime, forceDrop } = options;
  if (live && live.trustDomain !== copy.trustDomain) {
    throw poolInvalid(
      `the copy is of trust domain ${copy.trustDomain}, and Secret ${namespace}/${name} of ${live.trustDomain}`,
      'name the Secret that the copy was made from, with --namespace and --name',
    );
  }
  const compiled = compilePool(copy, copy.trustDomain);
  if (!compiled.ok) throw poolError(compiled.problem);
  const { pool, stillTainted, stillRetired, kept } = restoredPool(copy, {
    ...(live && { live }),
    publishedSequence: Math.max(publishedSequence, published.sequence),
    now,
  });
  const warnings = [
    ...published.warnings,
    ...stillTainted.map((id) => `authority ${id} was tainted after the copy was made, and stays so`),
    ...stillRetired.map((id) => `authority ${id} was retired after the copy was made, and stays so`),
  ];
  // Those that no authority of the pool has, whether the pool is sound or not.
  const named = new Set(pool.authorities.map(rootOf));
  const carried = published.roots.filter((root) => root.notAfter > now && !named.has(root.sha256Hex));
  let document = carryRoots(pool, carried, now);
  document = dateTransitions(document, { pool: live, roots: published.fingerprints }, now);
  const added = new Set(
    [...kept, ...document.authorities.slice(pool.authorities.length)].map(({ id }) => id),
  );
  for (const wanted of options.dropAuthority) {
    const certificateSeconds = parseSeconds(maxLifetime, '--max-lifetime');
    const retired = retireAuthority(document, wanted, now, { certificateSeconds });
    if (!retired.ok) throw poolInvalid(retired.what, retired.remedy);
    if (retired.consequence !== undefined && !forceDrop) {
      const hint =
        'restore without --drop-authority, and drop it when another authority is active and that time has passed; if the ' +
        'signer has a shorter maxLifetime, give it with --max-lifetime; if connections may break, add --force-drop';
      throw poolInvalid(retired.consequence, hint);
    }
    if (retired.consequence !== undefined) warnings.push(retired.consequence);
    warnings.push(`authority ${retired.id} is dropped, as was asked for`);
    added.delete(retired.id);
    document = retired.document;
  }
  for (const each of document.authorities.filter(({ id }) => added.has(id))) {
    const root = carried.find(({ sha256Hex }) => sha256Hex === rootOf(each));
    const which = root ? `${each.id}, ${describeRoots([root])},` : each.id;
    warnings.push(
      `authority ${which} is kept from the current pool, ${each.state}: the copy does not publish it`,
    );
  }
  warnings.push(...notYetSigning(checkTogether(document, added, options, now), now));
  return { document, warnings };
}

/** The copy alone is sound: what is kept may have problems of its own, or be too much. */
function checkTogether(
  document: PoolDocument,
  added: ReadonlySet<string>,
  options: Options,
  now: number,
): Pool {
  const together = writablePool(document, now);
  if (together.ok || together.pool || added.size === 0) {
    return checkedPool(document, now, options);
  }
  const { field, what } = together.problem;
  throw poolInvalid(
    `the copy does not fit with what is kept (${[...added].join(', ')}): ${field}: ${what}`,
    'remove an authority that nothing needs any more with --drop-authority',
  );
}

/**
 * The live pool; undefined for none. A broken one may be replaced, but its content is lost then.
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
  throw poolInvalid(
    `what is in Secret ${namespace}/${name} cannot be read (${read.problem.field}: ${read.problem.what}), so it is ` +
      'not known which of its authorities are tainted, or missing in the copy',
    `save it first, with its keys (\`umask 077; kubectl get secret -n ${namespace} ${name} -o yaml > FILE\`), then add ` +
      '--replace-unreadable, and taint again what was tainted',
  );
}

/** @throws CliError for what is neither a Secret with a pool nor a pool, without any part of the text. */
function poolIn(text: string, file: string): PoolDocument {
  let value: { kind?: unknown; data?: Record<string, unknown> } | null = null;
  try {
    // With 'silent' it would return what it could read of a text with errors.
    value = parseYaml(text, { logLevel: 'error' });
  } catch {
    // Reported below: the parser's own message quotes the text, and that may be a key.
  }
  const json = value?.kind === poolKind ? JSON.stringify(value) : poolJsonIn(value ?? {});
  if (json === undefined) {
    const hint =
      'give a file that was saved with `kubectl get secret -n NAMESPACE NAME -o yaml`, or pool.json from it';
    throw poolInvalid(`${nameOfInput(file)} holds neither a pool Secret nor a pool`, hint);
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
