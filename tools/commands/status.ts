import { setTimeout as pause } from 'node:timers/promises';
import { type ClusterOptions, serverClock, withApi, withCluster } from '../api.ts';
import { type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { parseSeconds } from '../duration.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';
import { abortAtHangup } from '../terminal.ts';
import { overviewOf } from '../view/overview.ts';
import { printOverview } from '../view/print.ts';
import { readCluster } from '../view/read.ts';

type Options = ClusterOptions & SettingsOptions & OutputOptions & { watch?: string | true };

/** `kubespiffe status`: the whole installation on one screen. */
export const status: AddCommand = (parent, terminal) =>
  addCommand(parent, 'status', {
    description:
      'Show signers, pools, bundles, peers and waiting requests on one screen.\n\n' +
      'Only reads. A part that may not be read is listed with the right that is missing. `kubespiffe doctor` checks what\n' +
      'is wrong, and says what to do.',
    examples: `
    # The whole installation
    kubespiffe status

    # The same, read again every five seconds
    kubespiffe status --watch 5s`,
    options: [withSignerSettings, withCluster],
  })
    .option(
      '-w, --watch [duration]',
      'Read again after this time, until it is stopped. Without a value: 10s.',
    )
    .addOption(outputOption())
    .action(async ({ watch, ...options }: Options) => {
      const again = watch === undefined ? undefined : readAgain(watch === true ? '10s' : watch);
      await withApi({ ...options, role: identityViewer }, terminal, async (api) => {
        const serverNow = serverClock(api);
        for (;;) {
          const overview = overviewOf(await readCluster(api, terminal, options, serverNow));
          // Clears the screen after the answer has arrived, so that it does not flicker.
          if (again && terminal.hasColor) terminal.out('\u001b[2J\u001b[H');
          if (options.output) printObject(terminal, options.output, overview);
          else printOverview(terminal, overview);
          if (!again) return;
          const { afterMs, signal } = again;
          await pause(afterMs, undefined, { signal }).catch(() => undefined);
          if (signal.aborted) return;
        }
      });
    });

/** It only prints, so it ends when nothing reads that any more. */
function readAgain(watch: string): { readonly afterMs: number; readonly signal: AbortSignal } {
  return { afterMs: Math.max(1, parseSeconds(watch, '--watch')) * 1_000, signal: abortAtHangup() };
}
