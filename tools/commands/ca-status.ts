import { authorityHistory, type HistoryEntry } from '../../signer/authority/history.ts';
import { authorityKinds } from '../../signer/authority/states.ts';
import { withCluster } from '../api.ts';
import { readPoolSigner } from '../cluster/pool-signer.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { fromNow, mark, type OutputOptions, outputOption, printObject, span, table } from '../output.ts';
import { withBundleSuffix } from '../pool/cluster-roots.ts';
import { type ChangeOptions, readPool, timeText, withTiming } from '../pool/pool-change.ts';
import { withSecretName } from '../pool/pool-secret.ts';
import { describeNext } from '../pool/rotation-text.ts';

type Options = ChangeOptions & SettingsOptions & OutputOptions;

/** `kubespiffe ca status`: where each authority is in its life, and what comes next. */
export const caStatus: AddCommand = (parent, terminal) =>
  addCommand(parent, 'status', {
    description:
      'Show the history of each CA and JWT key, its next step, and from when that step is safe.\n\n' +
      'Times are those that the pool has recorded.',
    examples: `
    # The timeline of each authority, and the next step
    kubespiffe ca status --max-lifetime 24h

    # When may the old CA be removed?
    kubespiffe ca status -o json | jq -r '.authorities[] | select(.state == "retiring").neededUntil'`,
    options: [withSecretName, withCluster, withBundleSuffix, withTiming, withSignerSettings, outputOption()],
  })
    .alias('history')
    .action(async (options: Options) => {
      const signer = await readPoolSigner(options, terminal);
      const { document, facts } = await readPool({ ...options, signer }, terminal);
      const kinds = authorityKinds.filter((kind) => document.authorities.some((each) => each.kind === kind));
      const status = {
        namespace: options.namespace,
        name: options.name,
        sequence: document.sequence,
        authorities: document.authorities.map((each) => authorityHistory(each, document, facts)),
        next: kinds.map((kind) => ({ kind, step: describeNext(document, kind, facts, signer) })),
      };
      if (options.output) return printObject(terminal, options.output, status);
      for (const { id, kind, state, tainted, timeline } of status.authorities) {
        const words = tainted ? mark(terminal, 'bad', `${state}, tainted`) : state;
        terminal.out(`${mark(terminal, 'title', id)}  ${kind}  ${words}\n`);
        terminal.out(table(timeline.map((entry) => row(entry, facts.now))));
        terminal.out('\n');
      }
      for (const { kind, step } of status.next) terminal.out(`Next for ${kind}: ${step}\n`);
    });

function row({ what, at }: HistoryEntry, now: number): string[] {
  const isPast = at <= now;
  const when = isPast ? `${span(now - at)} ago` : Number.isFinite(at) ? fromNow(at, now) : '';
  return [isPast ? '  ●' : '  ○', timeText(at), what, when];
}
