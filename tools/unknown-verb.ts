import type { Command } from 'commander';
import { nearest } from '../signer/config/nearest.ts';

/** Where people find what they wanted when no verb does it. */
const elsewhere: Readonly<Record<string, string>> = {
  ca:
    'to bring in another CA see docs/reference/pool.md#the-next-ca, for any other change of a pool ' +
    'docs/reference/pool.md#by-hand; `kubespiffe ca --help` lists the verbs',
};

/**
 * The hint for a verb that does not exist. Only a verb that is one typing mistake away is suggested: for `ca rotate`
 * Commander suggests `ca create`, for `ca export` the opposite of it.
 */
export function hintForUnknownVerb(verb: string, group: Command, path: string): string {
  const guess = nearest(
    verb,
    group.commands.map((each) => each.name()),
    1,
  );
  return guess ? `did you mean ${guess}?` : (elsewhere[group.name()] ?? `see \`${path} --help\``);
}
