import { Option } from 'commander';
import { applyVerb, safeFrom, type Verb } from '../../signer/authority/verbs.ts';
import { onlyVerified, readPoolSigner } from '../cluster/pool-signer.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { poolInvalid, usageError } from '../errors.ts';
import { span } from '../output.ts';
import { auditForced, type ForcedChange, showForced } from '../pool/forced-change.ts';
import {
  type ChangeOptions,
  changePool,
  insist,
  printChange,
  readPool,
  timeText,
  withChange,
} from '../pool/pool-change.ts';
import type { Terminal } from '../terminal.ts';
import { waiterFor, waitUntil } from '../wait.ts';
import { dependentsOf } from '../who/dependents.ts';

interface Options extends ChangeOptions, SettingsOptions {
  wait?: true;
}

interface Text {
  readonly summary: string;
  readonly more: string;
  /** Who notices the change, for a dry run. */
  readonly noticed: string;
  /** Whether it is decided by the settings of the signer. */
  readonly asksSigner?: true;
  readonly mayWait?: true;
  /** Accepts --force. Verbs with mayWait accept it anyway. */
  readonly mayForce?: true;
  /** Forcing it takes something from others, so --force needs --reason, which is recorded. */
  readonly asksForReason?: true;
}

const texts: Readonly<Record<Verb, Text>> = {
  preview: {
    summary: 'Publish the root of a prepared CA in the preview bundle.',
    more: 'Only pods that project the ClusterTrustBundle labelled `canarying: preview` get it, together with the live roots.',
    noticed: 'pods that project the preview bundle get its root',
  },
  trust: {
    summary: 'Publish an authority in the live bundles. It does not sign.',
    more: 'After the propagation delay every verifier can have it.',
    noticed:
      'every verifier gets its root or key within the propagation delay; nothing is signed with it yet',
    asksSigner: true,
    mayForce: true,
  },
  activate: {
    summary: 'Let a trusted authority sign. The previous one then only verifies.',
    more: 'Refused before the propagation delay has passed; --wait waits for it.',
    noticed: 'new certificates or tokens come from it; those that are in use stay valid',
    asksSigner: true,
    mayWait: true,
  },
  retire: {
    summary: 'Remove an authority from the bundles once nothing that it signed is valid any more.',
    more: 'Refused until then; --wait waits for it. The entry stays in the pool without its key.',
    noticed: 'every verifier refuses what it signed; all of that has expired unless the step is forced',
    mayWait: true,
    asksForReason: true,
  },
  remove: {
    summary: 'Remove an authority from the pool that is in no live bundle.',
    more: 'The way back from `prepared` and `preview`, and the end of `retired`.',
    noticed: 'nobody, unless pods project the preview bundle with its root',
    mayWait: true,
    asksForReason: true,
  },
  taint: {
    summary: 'Stop an authority from signing, at once and for good. Use it when its key may be stolen.',
    more: 'It stays in the bundles, so running pods keep working. A trusted authority that is ready signs in its place.',
    noticed: 'pods that need a new certificate, if no other CA is ready; running pods keep working',
    asksSigner: true,
  },
  untaint: {
    summary: 'Remove the taint from an authority that was tainted by mistake.',
    more: 'It never signs again: an active or trusted one is retiring from then on.',
    noticed: 'nobody',
  },
};

/** Who notices a step, for a dry run. */
export function whoNotices(verb: Verb | 'prepare'): string {
  return `who notices: ${verb === 'prepare' ? 'nobody, as it is in no bundle' : texts[verb].noticed}\n`;
}

const waitOption = new Option(
  '--wait',
  'Wait until it is safe, then do it. May be interrupted and started again.',
);
const forceOption = new Option('--force', 'Do it now, even if it breaks what the refusal names.');
const reasonOption = new Option('--reason <text>', 'Why it is forced; for the audit line and the Event.');

/** `kubespiffe ca preview`, `trust`, `activate`, `retire`, `remove`, `taint`, `untaint`: one step of one authority. */
export const caVerbs: readonly AddCommand[] = (Object.keys(texts) as Verb[]).map((verb) => {
  const { summary, more, asksSigner, mayWait, mayForce, asksForReason } = texts[verb];
  const about = {
    description: `${summary}\n\n${more}`,
    examples: `
    # See first what would change
    kubespiffe ca ${verb} ca-2 --dry-run

    # Change it
    kubespiffe ca ${verb} ca-2${mayWait ? ' --wait' : ''}`,
    options: [
      withChange,
      ...(asksSigner ? [withSignerSettings] : []),
      ...(mayWait ? [waitOption] : []),
      ...(mayWait || mayForce ? [forceOption] : []),
      ...(asksForReason ? [reasonOption] : []),
    ],
  };
  return (parent, terminal) =>
    addCommand(parent, verb, about)
      .argument('<authority>', 'Id of the authority, as `kubespiffe ca status` shows it.')
      .action((authority: string, options: Options) => takeStep(terminal, verb, authority, options));
});

async function takeStep(terminal: Terminal, verb: Verb, authority: string, given: Options): Promise<void> {
  const { asksSigner, asksForReason = false } = texts[verb];
  const options = asksSigner ? { ...given, signer: await readPoolSigner(given, terminal) } : given;
  if (options.wait) await waitUntilSafe(terminal, options, verb, authority);
  const isDryRun = options.dryRun === 'server';
  const forcedBy = (consequence: string): ForcedChange => {
    return { verb, authority, reason: options.reason ?? '', consequence };
  };
  // Also where it is refused for now.
  if (isDryRun) terminal.err(whoNotices(verb));
  // The pool before the change also has the authority that is removed.
  let before: Awaited<ReturnType<typeof readPool>> | undefined;
  const listDependents = async (): Promise<readonly string[]> => {
    const dependents = before ? await dependentsOf(options, terminal, authority, before) : [];
    for (const line of dependents) terminal.err(`${line}\n`);
    return dependents;
  };
  const makeChange = () =>
    changePool({ ...options, asksForReason }, terminal, async (document, facts) => {
      before = { document, facts };
      const applied = applyVerb(document, verb, authority, facts);
      const outcome = verb === 'trust' ? onlyVerified(applied, document, authority, options) : applied;
      if (!asksForReason || !outcome.ok || outcome.consequence === undefined) return outcome;
      if (options.force && !options.reason) {
        throw usageError(`${verb} --force needs a reason`, 'add --reason TEXT; it is kept');
      }
      if (!options.force) await listDependents();
      else if (!isDryRun) auditForced(terminal, options, 'forcing', forcedBy(outcome.consequence));
      return outcome;
    });
  // A stolen key must not go on signing because others change the pool too.
  const change = verb === 'taint' ? await insist(makeChange) : await makeChange();
  printChange(terminal, options, change);
  if (isDryRun && change.consequence === undefined) terminal.err('safe: now\n');
  const forced = asksForReason && change.consequence !== undefined ? forcedBy(change.consequence) : undefined;
  if (forced && !isDryRun) await showForced(terminal, options, forced, []);
  // An emergency does not wait for a list, which may take long in a large cluster.
  const dependents = verb === 'taint' || forced ? await listDependents() : [];
  if (verb === 'taint') {
    terminal.err(`note: \`kubespiffe ca evict ${authority}\` replaces these pods, once another CA signs\n`);
  }
  if (!forced || isDryRun) return;
  auditForced(terminal, options, 'forced', { ...forced, dependents });
  await showForced(terminal, options, forced, dependents);
}

/** A wait says so often that it goes on. */
const progressEverySeconds = 600;

/** Waits as long as the verb would break something. What the pool says is read again, as it may change meanwhile. */
async function waitUntilSafe(
  terminal: Terminal,
  options: Options,
  verb: Verb,
  authority: string,
): Promise<void> {
  const waitFor = waiterFor(terminal);
  for (;;) {
    const { document, facts } = await readPool(options, terminal);
    const record = document.authorities.find(({ id }) => id === authority);
    const outcome = applyVerb(document, verb, authority, facts);
    if (!outcome.ok && outcome.isPassing) {
      await waitFor(outcome.what);
      continue;
    }
    if (!record || !outcome.ok || outcome.consequence === undefined) return;
    const until = safeFrom(verb, record, document, facts) ?? facts.now;
    if (record.state === 'active') {
      throw poolInvalid(outcome.consequence, 'make another authority active first');
    }
    if (!Number.isFinite(until)) {
      throw poolInvalid(outcome.consequence, 'use --force once what it signed has ended');
    }
    terminal.err(
      `waiting until ${timeText(until)} (${span(until - facts.now)}) for authority ${authority}\n`,
    );
    await waitUntil(Math.min(until - facts.now, progressEverySeconds));
  }
}
