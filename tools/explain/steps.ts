import type { Owner } from '../../signer/observe/reasons.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { mark } from '../output.ts';
import type { Terminal } from '../terminal.ts';

/** One step of a decision: a fact, and where it comes from. */
export interface Step {
  /** Whether it lets the decision go on; null for what was looked at and does not count. */
  readonly ok: boolean | null;
  readonly what: string;
  readonly fact: string;
  /** For people, such as `Service shop/web`. */
  readonly from: string;
}

export function step(ok: Step['ok'], what: string, fact: string, from = ''): Step {
  return { ok, what, fact, from };
}

/** What a decision comes to. */
export interface Verdict {
  readonly verdict: 'issue' | 'deny' | 'wait' | 'drop';
  /** A code of docs/reference/outcomes.md or, for tokens, of docs/reference/token-endpoint.md. */
  readonly reason: string;
  /** What is wrong and what to do about it. */
  readonly message: string;
  /** Who has to act. */
  readonly owner: Owner;
}

const marks = { true: ['good', 'ok'], false: ['bad', 'no'], null: ['doubtful', '--'] } as const;

/** Prints steps below each other, their columns aligned. */
export function printSteps(terminal: Terminal, steps: readonly Step[]): void {
  const width = Math.max(...steps.map(({ what }) => what.length));
  for (const { ok, what, fact, from } of steps) {
    const [colour, sign] = marks[`${ok}`];
    const place = from === '' ? '' : `  (${printable(from)})`;
    terminal.out(`  ${mark(terminal, colour, sign)}  ${what.padEnd(width)}  ${printable(fact)}${place}\n`);
  }
}

const verbs = { issue: 'issues', deny: 'denies', wait: 'waits', drop: 'does nothing' } as const;
/** Reasons that are no codes of the signer. */
const words: Readonly<Record<string, string>> = { Valid: 'valid', NotValid: 'not valid' };

/**
 * Prints what a signer does, and what is to be done about it.
 *
 * @param keepsUntil of a pod that gets no name, and does not wait yet.
 */
export function printVerdict(
  terminal: Terminal,
  { verdict, reason, message, owner }: Verdict,
  keepsUntil: string | null = null,
): void {
  const colour = verdict === 'issue' ? 'good' : verdict === 'deny' ? 'bad' : 'doubtful';
  if (reason === 'Issued') {
    terminal.out(`  =>  ${mark(terminal, colour, 'issues')} ${printable(message)}\n`);
    return;
  }
  const verb = keepsUntil === null ? verbs[verdict] : 'gives no name';
  const does = mark(terminal, colour, words[reason] ?? `${verb}: ${reason}`);
  const who = owner === 'nobody' ? '' : `  [${owner}]`;
  terminal.out(`  =>  ${does}${who}\n      ${printable(message)}\n`);
}
