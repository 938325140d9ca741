import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { examinePool } from '../../signer/authority/repair.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { parseJsonObject } from '../../spiffe/json.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { savePool, serverClock, withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes } from '../errors.ts';
import { mark } from '../output.ts';
import { readClusterRoots, withBundleSuffix } from '../pool/cluster-roots.ts';
import { type PoolOptions, requireSecret, withSecretName } from '../pool/pool-secret.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends PoolOptions {
  bundleSuffix: string;
  trustDomain?: string;
  repair?: true;
}

/** `kubespiffe ca doctor`: everything that is wrong with a pool, and the repair. */
export const caDoctor: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'doctor', {
    description:
      'Show what is wrong with a pool, where, and how to repair it. Changes nothing without --repair.\n\n' +
      'A repair loses no key that signs, no published root and no taint. What it cannot repair needs a copy of the pool\n' +
      '(`ca restore`). Ends with 1 when a problem remains.',
    examples: `
    # What is wrong, and what would be done
    kubespiffe ca doctor

    # Do it
    kubespiffe ca doctor --repair`,
    options: [withSecretName, withCluster, withBundleSuffix],
  })
    .option('--trust-domain <name>', 'Check the pool against this trust domain instead of its own.')
    .option('--repair', 'Write the repaired pool, if no problem remains.')
    .action(async (options: Options) => done(await examine(terminal, options)));

async function examine(terminal: Terminal, options: Options): Promise<number> {
  const { namespace, name, trustDomain, repair } = options;
  return withApi(options, terminal, async (api) => {
    const clock = serverClock(api);
    const secret = await requireSecret(api, options);
    const json = poolJsonIn(secret) ?? '';
    const parsed = parseJsonObject(json, 'the text');
    const own =
      parsed.ok && typeof parsed.value.trustDomain === 'string' ? parsed.value.trustDomain : undefined;
    const published = await readClusterRoots(api, trustDomain ?? own, options.bundleSuffix);
    for (const warning of published.warnings) terminal.err(`warning: ${printable(warning)}\n`);
    const now = clock() ?? Math.floor(terminal.now() / 1000);
    const { findings, document } = examinePool(json, published, {
      now,
      ...(trustDomain !== undefined && { trustDomain }),
    });
    for (const { problem, repair: does } of findings) {
      terminal.out(`${mark(terminal, 'bad', 'problem')}: ${problem.field}: ${printable(problem.what)}\n`);
      terminal.out(does === undefined ? `  remedy: ${problem.remedy}\n` : `  repair: ${does}\n`);
    }
    if (!document) return exitCodes.failed;
    const checked = writablePool(document, now);
    if (!checked.ok && !checked.pool) {
      terminal.out(`${mark(terminal, 'bad', 'problem')}: ${checked.problem.message}\n`);
      return exitCodes.failed;
    }
    if (findings.length > 0 && !repair) terminal.out('run `kubespiffe ca doctor --repair` to do this\n');
    if (findings.length > 0 && repair) {
      await savePool(api, options, secret, document, false);
      terminal.out(`secret/${name} repaired in namespace ${namespace}, sequence ${document.sequence}\n`);
    }
    // The pool can be read, which is what a repair is for. Whether it signs is another matter.
    if (!checked.ok) {
      terminal.out(`${mark(terminal, 'bad', 'problem')}: ${checked.problem.message}\n`);
      return exitCodes.failed;
    }
    if (findings.length === 0) terminal.out(`${mark(terminal, 'good', 'ok')}: the pool can sign\n`);
    return findings.length === 0 || repair ? exitCodes.ok : exitCodes.failed;
  });
}
