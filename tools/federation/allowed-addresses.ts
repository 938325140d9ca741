import type { Command } from 'commander';
import { type AddressRule, createAddressRule } from '../../client/address-rule.ts';
import { addressRange } from '../../signer/config/address-values.ts';
import { list } from '../../signer/config/values.ts';
import { CliError } from '../errors.ts';

export interface AddressOptions {
  allowAddresses?: string;
}

/** The option of every command that fetches as the signer does. */
export function withAllowedAddresses(command: Command): Command {
  return command.option(
    '--allow-addresses <list>',
    'As the setting federationAllowedAddresses of the signer.',
  );
}

/** Which addresses may be connected to. @throws CliError USAGE */
export function addressRuleOf({ allowAddresses }: AddressOptions): AddressRule {
  const ranges = allowAddresses === undefined ? undefined : list(addressRange).parse(allowAddresses);
  if (ranges && !ranges.ok) throw new CliError('USAGE', `--allow-addresses ${ranges.reason}`);
  return createAddressRule(ranges?.value ?? []);
}
