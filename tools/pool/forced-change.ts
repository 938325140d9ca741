import { randomBytes } from 'node:crypto';
import type { PoolPlace } from '../../signer/authority/pool-secret.ts';
import { cutBytes } from '../../signer/kube/events.ts';
import { microTime } from '../../signer/kube/micro-time.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi } from '../api.ts';
import type { Terminal } from '../terminal.ts';

/** A change of an authority that `--force` makes although it breaks something. */
export interface ForcedChange {
  readonly verb: string;
  readonly authority: string;
  readonly reason: string;
  readonly consequence: string;
}

const maxNoteBytes = 1024;

/**
 * Writes an audit line to standard error: `forcing` before the change is written, so that one that is interrupted has a line
 * too, and `forced` with those who lose, as sentences, once they are known.
 */
export function auditForced(
  terminal: Terminal,
  { namespace, name }: PoolPlace,
  event: 'forcing' | 'forced',
  change: ForcedChange & { readonly dependents?: readonly string[] },
): void {
  const time = new Date(terminal.now()).toISOString();
  const line = { level: 'info', time, audit: true, event, ...change, pool: `${namespace}/${name}` };
  terminal.err(`${JSON.stringify(line)}\n`);
}

/**
 * Writes an Event on the pool Secret about a change that was forced. The change has been made, so nothing here fails: an
 * Event that cannot be written is a warning.
 */
export async function showForced(
  terminal: Terminal,
  options: ClusterOptions & PoolPlace,
  change: ForcedChange,
  dependents: readonly string[],
): Promise<void> {
  const { namespace, name } = options;
  const at = terminal.now();
  const note = `ca ${change.verb} ${change.authority} --force: ${change.reason}. ${[change.consequence, ...dependents].join('; ')}`;
  const event = {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: `${name.slice(0, 230)}.${randomBytes(8).toString('hex')}`, namespace },
    eventTime: microTime(at),
    reportingController: 'kubespiffe.io/cli',
    reportingInstance: 'kubespiffe-cli',
    regarding: { apiVersion: 'v1', kind: 'Secret', namespace, name },
    type: 'Warning',
    reason: 'AuthorityForced',
    action: change.verb,
    note: cutBytes(note, maxNoteBytes),
  };
  const path = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
  try {
    await withApi(options, terminal, (api) =>
      api.request({ method: 'POST', path, body: event, resource: 'events', discardBody: true }),
    );
  } catch (error) {
    terminal.err(`warning: no Event was written: ${printable(messageOf(error))}\n`);
  }
}
