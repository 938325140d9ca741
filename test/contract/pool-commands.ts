import { of, type PageCommands } from './page-commands.ts';

/** What happens to the pool before the commands. Time passes for the signer, not for the test. */
export type Meanwhile =
  /** There is no pool, and nothing is published. */
  | { readonly kind: 'nothing' }
  /** The pool is lost. What it published is still there. */
  | { readonly kind: 'lost' }
  /** A CA has been in the bundles for its propagation delay. */
  | { readonly kind: 'propagated'; readonly id: string }
  /** Everything that an authority signed has expired. */
  | { readonly kind: 'expired'; readonly id: string };

export interface PoolCommands extends PageCommands {
  readonly meanwhile?: Meanwhile;
}

const meanwhile = (happens: Meanwhile, commands: PageCommands): PoolCommands => ({
  ...commands,
  meanwhile: happens,
});
const nothing: Meanwhile = { kind: 'nothing' };
const propagated = (id: string): Meanwhile => ({ kind: 'propagated', id });
const expired = (id: string): Meanwhile => ({ kind: 'expired', id });

const cli = of('reference/cli.md');
const company = of('guides/company-pki.md');
const ca = of('guides/ca.md');
const backup = of('operations/backup.md');

/** By a CA operator beside a signer, and by an administrator for the pages on operations. Each goes on where the one before ended. */
export const poolCommands: readonly PoolCommands[] = [
  meanwhile(nothing, company('With an offline root', /./)),
  company('With an offline root', /ca-1/, { block: 2 }),
  company('With an offline root', /ca-2/, { block: 1 }),
  ca('Try the next CA first', /ca-2/, { block: 1 }),

  meanwhile(nothing, ca('Create', /ca-1/)),
  meanwhile(propagated('ca-1'), company('A new root for partners who learn of it late', /ca-2-by-ca-1/)),
  meanwhile(propagated('ca-2'), company('A new root for partners who learn of it late', /./, { block: 1 })),

  meanwhile(nothing, cli('kubespiffe ca create', /ca-1/)),
  cli('kubespiffe ca create', /dns-1/, { block: 1 }),
  cli('kubespiffe ca create', /^$/, { block: 2 }),
  cli('kubespiffe ca show', /ca-1/),
  cli('kubespiffe ca doctor', /./),
  cli('kubespiffe ca add-jwt-key', /jwt-rs256-2/),
  cli('kubespiffe ca prepare', /ca-2/),
  cli('kubespiffe ca preview', /ca-2/),
  cli('kubespiffe ca trust', /ca-2/),
  cli('kubespiffe ca cross-sign', /ca-2-by-ca-1/),
  cli('kubespiffe ca status', /ca-2/),
  cli('kubespiffe bundle show', /^$/),
  meanwhile(propagated('ca-2'), cli('kubespiffe ca activate', /ca-2/)),
  cli('kubespiffe ca taint', /ca-1/),
  cli('kubespiffe ca untaint', /ca-1/),
  cli('kubespiffe ca who', /ca-1/),
  cli('kubespiffe ca evict', /0 of 0 pods evicted/),
  meanwhile(expired('ca-1'), cli('kubespiffe ca retire', /ca-1/)),
  cli('kubespiffe ca remove', /ca-1/),
  cli('kubespiffe ca rotate', /./),
  cli('kubespiffe ca restore', /restored/),
  cli('kubespiffe ca root', /./),
  cli('kubespiffe ca csr', /./),
  cli('kubespiffe ca sign', /./),

  meanwhile(
    { kind: 'lost' },
    backup(
      'Find out what is wrong',
      /^Name: +kubespiffe-signer[\s\S]+there is no Secret kubespiffe\/kubespiffe-pool/m,
      { code: 0 },
    ),
  ),
  backup('Without a backup', /ca-2/),
];
