import type { PoolDocument } from '../../signer/authority/document.ts';
import { signingAuthorityAt } from '../../signer/authority/may-sign.ts';
import { writablePool } from '../../signer/authority/transitions.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { withApi, withCluster } from '../api.ts';
import { readPoolSigner } from '../cluster/pool-signer.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { poolInvalid, usageError } from '../errors.ts';
import { withBundleSuffix } from '../pool/cluster-roots.ts';
import { type EvictedPod, evictPods } from '../pool/evict.ts';
import { type ChangeFacts, type ChangeOptions, delayOption, readPool } from '../pool/pool-change.ts';
import { withSecretName } from '../pool/pool-secret.ts';
import type { Terminal } from '../terminal.ts';
import { readHolders } from '../who/read-holders.ts';

interface Options extends Omit<ChangeOptions, 'dryRun'>, SettingsOptions {
  dryRun?: true;
  rate: string;
  timeout: string;
  includeUnknown?: true;
}

/** `kubespiffe ca evict`: replaces the pods that hold certificates of an authority. */
export const caEvict: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'evict', {
    description:
      'Evict the pods that hold certificates of a CA, so that the pods in their place get new ones.\n\n' +
      'Kubelet renews a certificate only because of its age, whichever CA signed it. Evictions respect\n' +
      'PodDisruptionBudgets: a pod that one protects is tried again until --timeout. Pods without a controller are left\n' +
      'alone, since nothing would replace them. Refused while the CA still signs, and while no other CA does.',
    examples: `
    # Which pods would be evicted, and may they be?
    kubespiffe ca evict ca-1 --dry-run

    # Replace them, one every two seconds
    kubespiffe ca evict ca-1 --rate 0.5`,
    options: [withSecretName, withCluster, withBundleSuffix, withSignerSettings],
  })
    .argument('<authority>', 'Id of the CA, as `kubespiffe ca status` shows it.')
    .addOption(delayOption())
    .option('--dry-run', 'Evict nothing: have the API server check each eviction.')
    .option('--rate <number>', 'Pods a second, from 0.01 to 100.', '1')
    .option('--timeout <duration>', 'How long to retry pods that a PodDisruptionBudget protects.', '10m')
    .option(
      '--include-unknown',
      'Include pods whose requests were deleted; which CA signed for them is not known.',
    )
    .action(async (authority: string, options: Options) => {
      done(await evict(terminal, authority, options));
    });

async function evict(terminal: Terminal, id: string, options: Options): Promise<number> {
  const perSecond = Number(options.rate);
  if (!(perSecond >= 0.01 && perSecond <= 100)) {
    const what = `--rate ${JSON.stringify(options.rate)} is not a number from 0.01 to 100`;
    throw usageError(what, 'write it like 1 or 0.5');
  }
  const deadlineMs = Date.now() + parseSeconds(options.timeout, '--timeout') * 1000;
  const { dryRun = false, ...cluster } = options;
  const signer = await readPoolSigner(options, terminal);
  const { document, facts } = await readPool({ ...cluster, signer }, terminal);
  refuseUnlessReplaced(document, id, facts);
  const record = document.authorities.find((each) => each.id === id);
  const { trustDomain } = document;
  const read = await readHolders(options, terminal, record, { trustDomain, now: facts.now });
  if (!read) throw poolInvalid(`authority ${id} is not a CA`, 'pods hold no tokens: they fetch them');
  const { report, pods } = read;

  const keys = new Set([
    ...report.holders
      .filter(({ namespace, pod, podUID }) => pods.get(`${namespace}/${pod}`)?.uid === podUID)
      .map(({ namespace, pod }) => `${namespace}/${pod}`),
    ...(options.includeUnknown ? report.unknown : []),
  ]);
  const targets: EvictedPod[] = [];
  for (const key of keys) {
    const pod = pods.get(key);
    const [namespace = '', name = ''] = key.split('/');
    if (!pod) continue;
    if (pod.controller !== undefined) targets.push({ namespace, name, uid: pod.uid });
    else terminal.err(`left alone: ${printable(key)} has no controller that would replace it\n`);
  }
  const how = dryRun ? ' (server dry run)' : '';
  let evicted = 0;
  const blocked = await withApi(options, terminal, (api) =>
    evictPods(api, targets, {
      ...{ perSecond, isDryRun: dryRun, deadlineMs },
      onResult({ namespace, name }, result, why) {
        if (result === 'evicted') evicted += 1;
        const because = why === '' ? '' : `: ${printable(why)}`;
        terminal.out(`pod ${printable(`${namespace}/${name}`)} ${result}${how}${because}\n`);
      },
    }),
  );
  terminal.out(`${evicted} of ${targets.length} pods evicted${how}, ${blocked.length} blocked\n`);
  if (!options.includeUnknown && report.unknown.length > 0) {
    terminal.err(
      `note: ${report.unknown.length} pods may hold certificates of ${id} too, since their requests were deleted: ` +
        'add --include-unknown to replace them as well\n',
    );
  }
  return blocked.length === 0 ? 0 : 1;
}

/** The pods in their place must get certificates, and of another CA. @throws CliError */
export function refuseUnlessReplaced(
  document: PoolDocument,
  id: string,
  { now, timing }: Pick<ChangeFacts, 'now' | 'timing'>,
): void {
  const record = document.authorities.find((each) => each.id === id);
  if (!record) {
    const ids = document.authorities.map((each) => each.id).join(', ');
    throw poolInvalid(`there is no authority ${id} in the pool`, `name one of ${ids}`);
  }
  if (record.state === 'active' && !record.tainted) {
    const hint = 'make another one active first, or `kubespiffe ca taint` it';
    throw poolInvalid(`authority ${id} signs: new pods would get its certificates again`, hint);
  }
  const usable = writablePool(document, now);
  const signing = usable.ok ? signingAuthorityAt(usable.pool, now, timing.rootPropagationSeconds) : usable;
  if (signing.ok) return;
  const { what, remedy } = signing.problem;
  throw poolInvalid(`nothing signs now, so new pods would wait: ${what}`, remedy);
}
