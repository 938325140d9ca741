import { type Command, Option } from 'commander';
import type { Change, Refusal } from '../../signer/authority/change.ts';
import { newJwtKeys } from '../../signer/authority/create-jwt.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import {
  defaultJwtPropagation,
  jwtPropagationSeconds,
  usualRootPropagationSeconds,
} from '../../signer/authority/may-sign.ts';
import type { Timing } from '../../signer/authority/ready.ts';
import { longestCertificateSeconds } from '../../signer/authority/signed-until.ts';
import type { AuthorityKind } from '../../signer/authority/states.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { ApiStatusError } from '../../signer/kube/api-error.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { savePool, serverClock, withApi, withCluster } from '../api.ts';
import type { PoolSigner } from '../cluster/pool-signer.ts';
import { choice } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { CliError, poolInvalid } from '../errors.ts';
import type { Terminal } from '../terminal.ts';
import { readClusterRoots, withBundleSuffix } from './cluster-roots.ts';
import { checkedPool, documentIn, type PoolOptions, requireSecret, withSecretName } from './pool-secret.ts';
import { beginRecord, readProof } from './signed-until.ts';

/** The options of the commands that bring authorities from one state to the next. */
export interface ChangeOptions extends PoolOptions {
  bundleSuffix: string;
  maxLifetime: string;
  propagationDelay?: string;
  /** What the settings of the signer say, which apply without `--propagation-delay`. */
  signer?: PoolSigner | undefined;
  dryRun?: 'none' | 'server';
  /** Whether --force needs --reason. */
  asksForReason?: boolean;
  force?: true;
  /** Why something is forced, where that has to be said. */
  reason?: string;
}

/** The kinds of authority, by their names for `--type`. */
export const authorityTypes = { x509: 'X509', ...newJwtKeys } as const satisfies Record<
  string,
  AuthorityKind
>;
export type AuthorityType = keyof typeof authorityTypes;

export function typeOption(): Option {
  const description = 'x509 for a CA, es256 or rs256 for a JWT key.';
  return choice('--type <type>', description, Object.keys(authorityTypes), 'x509');
}

/** The options that say how long things take in this cluster. */
export function withTiming(command: Command): Command {
  return command
    .option(
      '--max-lifetime <duration>',
      "The signer's maxLifetime: how long a certificate of a CA can be valid.",
      `${longestCertificateSeconds / 3600}h`,
    )
    .addOption(delayOption());
}

const delayFlag = '--propagation-delay';

export function delayOption(): Option {
  return new Option(
    `${delayFlag} <duration>`,
    'How long a root or key must be published before it signs. (default: from the settings of the signer; ' +
      `if they are not read, ${usualRootPropagationSeconds} s for a CA and ${jwtPropagationSeconds(defaultJwtPropagation)} s for a JWT key)`,
  ).argParser(checkedDelay);
}

/** A misspelt delay is said before anything is read. */
function checkedDelay(text: string): string {
  parseSeconds(text, delayFlag);
  return text;
}

export function withChange(command: Command): Command {
  return withTiming(withBundleSuffix(withCluster(withSecretName(command)))).addOption(serverDryRun());
}

export function serverDryRun(): Option {
  const description = 'Write nothing: show what would change, and have the API server check it.';
  return choice('--dry-run [mode]', description, ['none', 'server']).preset('server');
}

/** @throws CliError USAGE for what is not a duration. */
export function timingOf({ maxLifetime, propagationDelay, signer }: Partial<ChangeOptions>): Timing {
  const delay = propagationDelay === undefined ? undefined : parseSeconds(propagationDelay, delayFlag);
  return {
    certificateSeconds:
      maxLifetime === undefined ? longestCertificateSeconds : parseSeconds(maxLifetime, '--max-lifetime'),
    rootPropagationSeconds: delay ?? signer?.timing.rootPropagationSeconds ?? usualRootPropagationSeconds,
    jwtPropagationSeconds:
      delay ?? signer?.timing.jwtPropagationSeconds ?? jwtPropagationSeconds(defaultJwtPropagation),
  };
}

/** What a change is decided by. */
export interface ChangeFacts {
  /** Seconds since the epoch, by the clock of the API server. */
  readonly now: number;
  readonly timing: Timing;
  /** SHA-256 of the roots in the live bundle, in hex; undefined where they could not be read. */
  readonly published: ReadonlySet<string> | undefined;
  /** The `kid` of the JWT keys of its pool, as it shows them. */
  readonly publishedKeys: ReadonlySet<string>;
}

/** Reads the pool and what decides about it. @throws CliError */
export async function readPool(
  options: ChangeOptions,
  terminal: Terminal,
): Promise<{ document: PoolDocument; facts: ChangeFacts }> {
  return withPool(options, terminal, async ({ document, facts }) => ({ document, facts }));
}

/**
 * Reads a pool, changes it and writes it, as one compare-and-swap.
 *
 * @throws CliError for a change that is refused, or that breaks something without `--force`.
 */
export async function changePool(
  options: ChangeOptions,
  terminal: Terminal,
  change: (document: PoolDocument, facts: ChangeFacts) => Change | Refusal | Promise<Change | Refusal>,
): Promise<Change & { readonly facts: ChangeFacts }> {
  return withPool(options, terminal, async ({ document, facts, save }) => {
    const changed = await change(document, facts);
    if (!changed.ok) throw poolInvalid(changed.what, changed.remedy);
    if (changed.consequence !== undefined && !options.force) {
      const how = options.asksForReason ? '--force --reason TEXT' : '--force';
      const hint = `wait until then (--wait does), or add ${how} if that is wanted`;
      throw poolInvalid(changed.consequence, hint);
    }
    // A taint is right although nothing signs any more, and a pool with a problem must be repairable step by step.
    const couldSign = writablePool(document, facts.now).ok;
    const allowUnusable = !couldSign || options.force === true || isTaint(document, changed);
    checkedPool(changed.document, facts.now, { allowUnusable }, '');
    await save(changed.document, changed.made);
    return { ...changed, facts };
  });
}

/** Makes a change again, by the newest pool, while others change the pool at the same time. */
export async function insist<T>(change: () => Promise<T>, attempts = 10): Promise<T> {
  for (let left = attempts; ; left -= 1) {
    try {
      return await change();
    } catch (error) {
      const cause = error instanceof CliError ? error.cause : undefined;
      if (left <= 1 || !(cause instanceof ApiStatusError && cause.status === 409)) throw error;
    }
  }
}

function isTaint(before: PoolDocument, { document }: Change): boolean {
  const tainted = (pool: PoolDocument) => pool.authorities.filter((each) => each.tainted).length;
  return tainted(document) > tainted(before);
}

/** The UID of the pool that a command read first. */
const firstRead = new WeakMap<Terminal, string>();

/**
 * A command that waits decides by what it read before. The address of the API server may lead to another cluster by now, as
 * that of `kubectl proxy` does.
 *
 * @throws CliError
 */
function requireSamePool(terminal: Terminal, { metadata: { namespace, name, uid } }: Secret): void {
  if (uid === undefined) return;
  const first = firstRead.get(terminal) ?? uid;
  firstRead.set(terminal, first);
  if (first === uid) return;
  throw poolInvalid(
    `Secret ${namespace}/${name} has another UID than the one that this command read first; nothing was changed`,
    'it was deleted and made again, or the API server is that of another cluster now; check which, and run the command again',
  );
}

function withPool<T>(
  options: ChangeOptions,
  terminal: Terminal,
  use: (pool: {
    document: PoolDocument;
    facts: ChangeFacts;
    save: (document: PoolDocument, made?: Change['made']) => Promise<void>;
  }) => Promise<T>,
): Promise<T> {
  const timing = timingOf(options);
  return withApi(options, terminal, async (api) => {
    const clock = serverClock(api);
    const secret = await requireSecret(api, options);
    requireSamePool(terminal, secret);
    const document = documentIn(secret);
    const { fingerprints, addedAt, kids, warnings } = await readClusterRoots(
      api,
      document.trustDomain,
      options.bundleSuffix,
    );
    for (const warning of warnings) terminal.err(`warning: ${printable(warning)}\n`);
    const now = clock() ?? Math.floor(terminal.now() / 1000);
    const { trustDomain } = document;
    const proof = await readProof(api, terminal, options, trustDomain);
    const isDryRun = options.dryRun === 'server';
    const save = async (changed: PoolDocument, made: Change['made'] = []) => {
      const record = { trustDomain, now, isNewPool: false };
      if (!isDryRun) await beginRecord(api, terminal, options, made, record);
      await savePool(api, options, secret, changed, isDryRun);
    };
    const facts = {
      ...{ now, published: fingerprints, publishedKeys: kids(now) },
      timing: { ...timing, mayHaveSignedUntil: proof, shownSince: addedAt(now) },
    };
    return use({ document, facts, save });
  });
}

/** What was changed, a line for each authority, and what else is good to know. */
export function printChange(terminal: Terminal, options: ChangeOptions, change: Change): void {
  const how = options.dryRun === 'server' ? ' (server dry run)' : '';
  for (const { id, from, to } of change.changed) {
    terminal.out(`authority ${id}: ${from ?? 'new'} -> ${to ?? 'removed'}${how}\n`);
  }
  terminal.out(
    `secret/${options.name} changed in namespace ${options.namespace}, sequence ${change.document.sequence}${how}\n`,
  );
  if (change.consequence !== undefined) terminal.err(`warning: ${change.consequence}\n`);
  for (const note of change.notes) terminal.err(`note: ${note}\n`);
}

/** A time of a pool for people; what is not known is infinite. */
export function timeText(seconds: number): string {
  return Number.isFinite(seconds) ? rfc3339(Math.ceil(seconds)) : 'a time that is not known';
}
