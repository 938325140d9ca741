import type { PoolDocument } from '../../signer/authority/document.ts';
import { prepareAuthority } from '../../signer/authority/prepare.ts';
import { nextStep } from '../../signer/authority/rotation.ts';
import type { AuthorityKind } from '../../signer/authority/states.ts';
import { applyVerb } from '../../signer/authority/verbs.ts';
import { onlyVerified, type PoolSigner, readPoolSigner } from '../cluster/pool-signer.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import {
  type AuthorityType,
  authorityTypes,
  type ChangeFacts,
  type ChangeOptions,
  changePool,
  printChange,
  readPool,
  typeOption,
  withChange,
} from '../pool/pool-change.ts';
import { describeStep } from '../pool/rotation-text.ts';
import type { Terminal } from '../terminal.ts';
import { waiterFor, waitUntil } from '../wait.ts';
import { whoNotices } from './ca-verbs.ts';

interface Options extends ChangeOptions, SettingsOptions {
  type: AuthorityType;
  wait?: true;
}

/** `kubespiffe ca rotate`: the next authority signs, and the previous one is retired once nothing needs it. */
export const caRotate: AddCommand = (parent, terminal) =>
  addCommand(parent, 'rotate', {
    description:
      'Replace the CA, or the JWT key, that signs.\n\n' +
      'Prepares a new one, publishes it, lets it sign once every verifier can have it, and takes the old one out of the\n' +
      'bundles once nothing that it signed is valid any more. Each step is one write. If a step must wait, the command\n' +
      'prints until when and ends, or waits with --wait. Run the same command again to continue.',
    examples: `
    # Begin, and come back when it says so
    kubespiffe ca rotate

    # See the next step
    kubespiffe ca rotate --dry-run

    # Wait until the new CA signs; the old one is retired by the same command, when its certificates have ended
    kubespiffe ca rotate --wait --max-lifetime 24h`,
    options: [withChange, withSignerSettings],
  })
    .addOption(typeOption())
    .option('--wait', 'Wait until the new one signs.')
    .action(async (options: Options) =>
      rotate(terminal, { ...options, signer: await readPoolSigner(options, terminal) }),
    );

async function rotate(terminal: Terminal, options: Options): Promise<void> {
  const kind = authorityTypes[options.type];
  // What else could be activated, such as a CA in reserve, is for the next rotation.
  let hasSwitched = false;
  const waitFor = waiterFor(terminal);
  for (;;) {
    const { document, facts } = await readPool(options, terminal);
    const step = nextStep(document, kind, facts);
    if (hasSwitched && !(step.kind === 'wait' && step.for === 'retire')) return;
    if (options.dryRun === 'server') {
      const verb = step.kind === 'change' ? step.verb : step.kind === 'wait' ? step.for : step.kind;
      terminal.out(`next: ${describeStep(step, facts.now)}\n`);
      return terminal.err(whoNotices(verb));
    }
    if (step.kind === 'wait') {
      if (!options.wait || step.for === 'retire') {
        return terminal.out(`${describeStep(step, facts.now)}: run the same command again then\n`);
      }
      terminal.err(`${describeStep(step, facts.now)}\n`);
      await waitUntil(step.until - facts.now);
    } else {
      const outcome = step.kind === 'change' ? applyVerb(document, step.verb, step.id, facts) : undefined;
      if (options.wait && outcome?.ok === false && outcome.isPassing) {
        await waitFor(outcome.what);
        continue;
      }
      printChange(terminal, options, await changePool(options, terminal, take(kind, options.signer)));
      if (step.kind !== 'change') continue;
      if (step.verb === 'retire') return;
      hasSwitched ||= step.verb === 'activate';
    }
  }
}

/** The next step, of the pool as it is when it is written. */
function take(kind: AuthorityKind, signer: PoolSigner | undefined) {
  return async (document: PoolDocument, facts: ChangeFacts) => {
    const step = nextStep(document, kind, facts);
    switch (step.kind) {
      case 'prepare': {
        const waiting = document.authorities.find((each) => each.kind === kind && each.request !== undefined);
        if (!waiting) return prepareAuthority(document, { kind, now: facts.now });
        const { id } = waiting;
        return {
          ok: false,
          what: `authority ${id} waits for its certificate`,
          remedy: `import it with \`kubespiffe ca import --request ${id}\`, or withdraw it with \`kubespiffe ca remove ${id}\``,
        } as const;
      }
      case 'change': {
        const applied = applyVerb(document, step.verb, step.id, facts);
        return step.verb === 'trust' ? onlyVerified(applied, document, step.id, { signer }) : applied;
      }
      case 'wait':
        return {
          ok: false,
          what: 'the pool was changed meanwhile',
          remedy: 'run the command again',
        } as const;
    }
  };
}
