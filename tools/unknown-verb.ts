import type { Command } from 'commander';
import { nearest } from '../signer/config/nearest.ts';

/** Where people find what they wanted when no verb does it. */
const elsewhere: Readonly<Record<string, string>> = {
  ca:
    'a new CA or key is brought in by `kubespiffe ca rotate`, any other change of a pool is in ' +
    'docs/reference/pool.md#changing-a-pool; `kubespiffe ca --help` lists the verbs',
};

/**
 * The hint for a verb that does not exist. Only a verb that is one typing mistake away is suggested: for `ca export`
 * Commander suggests `ca import`, the opposite of it.
 */
export function hintForUnknownVerb(verb: string, group: Command, path: string): string {
  const guess = nearest(
    verb,
    group.commands.map((each) => each.name()),
    1,
  );
  return guess ? `did you mean ${guess}?` : (elsewhere[group.name()] ?? `see \`${path} --help\``);
}
