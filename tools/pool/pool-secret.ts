import type { Command } from 'commander';
import type { AuthorityRecord, PoolDocument } from '../../signer/authority/document.ts';
import { lostRoots } from '../../signer/authority/lost-roots.ts';
import { signingAuthorityAt, usualRootPropagationSeconds } from '../../signer/authority/may-sign.ts';
import type { Pool } from '../../signer/authority/pool.ts';
import { newPoolSecret, type PoolPlace, poolJsonIn, poolSecret } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { freshSequence } from '../../signer/authority/sequence.ts';
import { carryRoots, dateTransitions, writablePool } from '../../signer/authority/transitions.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import type { Secret } from '../../signer/kube/types.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type ClusterOptions, getSecret, savePool, serverClock, withApi } from '../api.ts';
import { choice } from '../command.ts';
import { CliError, poolError, poolMissing } from '../errors.ts';
import { colons, fromNow, type OutputOptions, outputOption, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { describeRoots, readClusterRoots, withBundleSuffix } from './cluster-roots.ts';
import { beginRecord } from './signed-until.ts';

/** The options of the commands that look at a pool Secret. */
export interface PoolOptions extends ClusterOptions, PoolPlace {}

/** The options of the commands that make a pool Secret. */
export interface NewSecretOptions extends PoolOptions, OutputOptions {
  dryRun?: 'none' | 'client' | 'server';
  showPrivateKey?: boolean;
  startAnew?: true;
  bundleSuffix: string;
}

/** The defaults name the pool of `manifests/base`. */
export function withSecretName(command: Command): Command {
  return command
    .option('-n, --namespace <namespace>', 'Namespace of the pool Secret.', 'kubespiffe')
    .option('--name <name>', 'Name of the pool Secret.', 'kubespiffe-pool');
}

export function withNewSecret(command: Command): Command {
  return withBundleSuffix(command)
    .addOption(
      choice(
        '--dry-run [mode]',
        'Write nothing. client, the default of --dry-run, only prints; server also lets the API server check it.',
        ['none', 'client', 'server'],
      ).preset('client'),
    )
    .option(
      '--start-anew',
      'Make a new CA even if roots of the trust domain are published; the new pool keeps them published.',
    )
    .addOption(outputOption('Print the Secret (default with --dry-run: yaml).'))
    .option('--show-private-key', 'Print the private key. Without this option, a placeholder is printed.');
}

/** Stands for a key in what is printed. It is no PEM, so a signer refuses a pool that was applied with it. */
const keyPlaceholder = '<private key left out; print it with --show-private-key>';

/**
 * Creates the Secret of a new pool, or prints what would be created. Roots that are published and that the pool lacks
 * are not lost: without --start-anew nothing is written, with it the pool carries them.
 *
 * @param made the authorities whose keys were made for it.
 */
export async function deliverPool(
  terminal: Terminal,
  options: NewSecretOptions,
  wanted: PoolDocument,
  made: readonly AuthorityRecord[] = [],
): Promise<void> {
  const { namespace, name, dryRun } = options;
  const now = Math.floor(terminal.now() / 1000);
  let document = wanted;
  let pool = usablePool(document, now);
  if (dryRun !== 'client') {
    await withApi(options, terminal, async (api) => {
      const clock = serverClock(api);
      // First whether it may be made at all: an existing Secret is the likelier reason to stop.
      await savePool(api, options, undefined, document, true);
      // Loaded here: it knows all signers, which takes time that a dry run needs not.
      const { requireTrustDomainOfSigners } = await import('../cluster/pool-trust-domain.ts');
      await requireTrustDomainOfSigners(api, terminal, options, wanted.trustDomain);
      const published = await readClusterRoots(api, wanted.trustDomain, options.bundleSuffix);
      for (const warning of published.warnings) terminal.err(`warning: ${printable(warning)}\n`);
      const at = clock() ?? now;
      const lost = lostRoots(pool, published.roots, at);
      if (lost.length > 0 && !options.startAnew)
        throw rootsPublished(lost, wanted.trustDomain ?? 'the signer service-dns', options);
      const sequence = freshSequence(at, wanted.sequence - 1, published.sequence);
      const before = { pool: undefined, roots: published.fingerprints };
      document = dateTransitions({ ...carryRoots(wanted, lost, at), sequence }, before, at);
      pool = usablePool(document, at);
      if (dryRun !== 'server') {
        const record = { trustDomain: wanted.trustDomain, now: at, isNewPool: true };
        await beginRecord(api, terminal, options, made, record);
      }
      await savePool(api, options, undefined, document, dryRun === 'server');
    });
  }
  for (const { warnings } of pool.authorities) {
    for (const warning of warnings) terminal.err(`warning: ${printable(warning)}\n`);
  }
  for (const warning of notYetSigning(pool, now)) terminal.err(`warning: ${printable(warning)}\n`);
  const secret = newPoolSecret(options, document);
  if (options.output !== undefined || dryRun === 'client') {
    const shown = options.showPrivateKey ? secret : withoutKeys(secret, document);
    return printObject(terminal, options.output ?? 'yaml', shown);
  }
  const how = dryRun === 'server' ? ' (server dry run)' : '';
  terminal.out(`secret/${name} created in namespace ${namespace}${how}\n`);
  for (const authority of pool.authorities) {
    const end = authority.signingAuthority?.notAfter ?? authority.root.notAfter;
    terminal.out(
      `authority ${authority.id}: ${authority.state}, ${authority.keyType}, until ${rfc3339(end)} ` +
        `(${fromNow(end, terminal.now() / 1000)}), SHA-256 ${colons(authority.root.sha256Hex)}\n`,
    );
  }
  for (const { id, state, keyType, kid, algorithm } of pool.jwt) {
    terminal.out(`authority ${id}: ${state}, ${keyType}, for ${algorithm} tokens, kid ${kid}\n`);
  }
}

/** A new pool that can sign. @throws CliError */
function usablePool(document: PoolDocument, now: number): Pool {
  const checked = writablePool(document, now);
  if (!checked.ok) {
    const { problem } = checked;
    // What is right for a pool that exists, the next CA, leads nowhere here.
    const endsSoon = problem.reason === 'PoolExpired' || problem.reason === 'AuthorityExpiring';
    const remedy = endsSoon ? 'use a CA that is valid for longer, or renew it first' : problem.remedy;
    throw poolError({ ...problem, remedy });
  }
  return checked.pool;
}

/**
 * @param flag that allows it, for the hint; empty for none.
 * @throws CliError for a pool that is not sound, or cannot sign and is not to be written for all that.
 */
export function checkedPool(
  document: PoolDocument,
  now: number,
  options: { allowUnusable?: boolean },
  flag = '--allow-unusable',
): Pool {
  const checked = writablePool(document, now);
  if (checked.ok) return checked.pool;
  const { problem, pool } = checked;
  if (!pool) throw poolError(problem);
  if (options.allowUnusable) return pool;
  const otherwise = flag === '' ? '' : `; to write a pool that cannot sign, add ${flag}`;
  throw poolError({ ...problem, remedy: `${problem.remedy}${otherwise}` });
}

/** The Secret of a pool. @throws CliError if there is none. */
export async function requireSecret(api: Transport, place: PoolPlace): Promise<Secret> {
  const secret = await getSecret(api, place.namespace, place.name);
  if (!secret) throw poolMissing(place);
  return secret;
}

/** The pool that a Secret holds. @throws CliError where it cannot be read. */
export function documentIn(secret: Secret): PoolDocument {
  const read = readPoolDocument(poolJsonIn(secret) ?? '');
  if (!read.ok) throw poolError(read.problem);
  return read.document;
}

/** The option of the commands that change a pool that may already be broken. */
export function withAllowUnusable(command: Command): Command {
  return command.option('--allow-unusable', 'Write the pool although it cannot sign certificates now.');
}

/** Why a pool that is written signs nothing for a while, by the usual delay: signers may have another one. */
export function notYetSigning(pool: Pool, now: number): string[] {
  const signing = signingAuthorityAt(pool, now, usualRootPropagationSeconds);
  return !signing.ok && signing.problem.reason === 'RootTooNew' ? [signing.problem.message] : [];
}

function rootsPublished(
  lost: readonly CertificateFacts[],
  trustDomain: string,
  { namespace, name }: NewSecretOptions,
): CliError {
  return new CliError(
    'ALREADY_EXISTS',
    `roots of ${trustDomain} are published that the new pool lacks, and certificates in use need them: ` +
      printable(describeRoots(lost)),
    `put the copy of the pool back with \`kubespiffe ca restore --namespace ${namespace} --name ${name} --from FILE\`; ` +
      'if there is no copy, --start-anew makes a new CA and keeps these roots published',
  );
}

/** The Secret in clear, so that it can be read, and without its keys. */
function withoutKeys(secret: Secret, document: PoolDocument): object {
  const { data: _, ...rest } = secret;
  const authorities = document.authorities.map((each) =>
    each.privateKey === undefined ? each : { ...each, privateKey: keyPlaceholder },
  );
  const json = `${JSON.stringify({ ...document, authorities }, undefined, 2)}\n`;
  return { ...rest, stringData: { [poolSecret.key]: json } };
}
