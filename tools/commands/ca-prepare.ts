import { authorityKeyTypes } from '../../spiffe/pki/algorithms.ts';
import { type AddCommand, addCommand, choice } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { usageError } from '../errors.ts';
import { withKeyRef } from '../pool/key-ref.ts';
import { prepareInPool } from '../pool/new-authority.ts';
import {
  type AuthorityType,
  authorityTypes,
  printChange,
  typeOption,
  withChange,
} from '../pool/pool-change.ts';
import { prepareByUpstream, type UpstreamOptions, withUpstream } from '../pool/upstream.ts';
import { whoNotices } from './ca-verbs.ts';

interface Options extends UpstreamOptions {
  type: AuthorityType;
}

/** `kubespiffe ca prepare`: a new CA or JWT key in an existing pool, in no bundle. */
export const caPrepare: AddCommand = (parent, terminal) =>
  addCommand(parent, 'prepare', {
    description:
      'Make a new CA or JWT key in an existing pool.\n\n' +
      'It is in no bundle and signs nothing. `ca preview` or `ca trust` publish it, `ca activate` lets it sign, and\n' +
      '`ca rotate` does all of it.',
    examples: `
    # The next CA
    kubespiffe ca prepare

    # A CA for two years, with a P-384 key
    kubespiffe ca prepare --ca-id ca-2028 --key-type ecdsa-p384 --lifetime 17520h

    # A CA that an issuer of cert-manager signs
    kubespiffe ca prepare --upstream cert-manager:Issuer/company --upstream-root root.pem --lifetime 4380h

    # A JWT key that AWS KMS keeps
    kubespiffe ca prepare --type es256 \\
      --key-ref awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
    options: [withChange, withUpstream, withKeyRef],
  })
    .addOption(typeOption())
    .option('--ca-id <id>', 'Id of the new authority. (default: the next number)')
    .addOption(
      choice('--key-type <type>', 'Key of a CA. (default: same as the active CA)', authorityKeyTypes),
    )
    .option('--lifetime <duration>', 'Lifetime of a CA.', '8760h')
    .action(async (options: Options) => {
      if (options.upstream !== undefined) {
        if (options.type !== 'x509') throw usageError('--upstream is for a CA', 'leave out --type');
        return prepareByUpstream(terminal, options, options.upstream);
      }
      const change = await prepareInPool(terminal, options, {
        kind: authorityTypes[options.type],
        lifetimeSeconds: parseSeconds(options.lifetime, '--lifetime'),
      });
      printChange(terminal, options, change);
      if (options.dryRun === 'server') terminal.err(whoNotices('prepare'));
    });
