import type { Command } from 'commander';
import { defaultFolder } from '../dev/private-folder.ts';
import type { WorkloadName } from '../dev/workload.ts';
import { namespacedName } from '../signer/config/name-values.ts';
import { usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

/** Adds `--folder`, by which a command finds the `kubespiffe dev` that runs. */
export function withFolder(command: Command): Command {
  return command.option(
    '--folder <path>',
    'Folder of `kubespiffe dev`. (default: $XDG_RUNTIME_DIR/kubespiffe-dev, or /tmp/kubespiffe-dev-UID)',
  );
}

/** The user, to whom the folder must belong. */
export const ownUid = () => process.getuid?.() ?? 0;

export function folderOf({ folder }: { readonly folder?: string }, { env }: Terminal): string {
  return folder ?? defaultFolder(env, ownUid());
}

/** Reads `shop/web`. @throws CliError USAGE */
export function workloadOf(text: string): WorkloadName {
  const read = namespacedName.parse(text);
  if (read.ok) return read.value;
  throw usageError(`workload ${text} ${read.reason}`, 'name the ServiceAccount, such as shop/web');
}
