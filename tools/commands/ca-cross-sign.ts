import { type AddCommand, addCommand, required } from '../command.ts';
import { type ChangeOptions, changePool, printChange, withChange } from '../pool/pool-change.ts';

interface Options extends ChangeOptions {
  by: string;
}

/** `kubespiffe ca cross-sign`: the key of a new root, with a certificate by the root that every verifier has. */
export const caCrossSign: AddCommand = (parent, terminal) =>
  addCommand(parent, 'cross-sign', {
    description:
      'Sign a new root with a root that every verifier already has.\n\n' +
      'Makes one more authority, ID-by-OTHER, with the key of the new root. Verifiers that have either root accept its\n' +
      'certificates, so it can sign before partners in other trust domains have received the new root.',
    examples: `
    # Let ca-2 sign before every verifier has its root
    kubespiffe ca cross-sign ca-2 --by ca-1
    kubespiffe ca trust ca-2-by-ca-1
    kubespiffe ca activate ca-2-by-ca-1`,
    options: [
      required('--by <authority>', 'Id of the root that signs it: one that every verifier has.'),
      withChange,
    ],
  })
    .argument('<authority>', 'Id of the new root, which does not sign yet.')
    .action(async (id: string, options: Options) => {
      const { crossSign } = await import('../../signer/authority/cross-sign.ts');
      const change = await changePool(options, terminal, (document, { now }) =>
        crossSign(document, { id, by: options.by, now }),
      );
      printChange(terminal, options, change);
    });
