import { randomBytes } from 'node:crypto';
import type { PoolPlace } from '../signer/authority/pool-writer.ts';
import { cutBytes } from '../signer/kube/events.ts';
import { microTime } from '../signer/kube/micro-time.ts';
import { messageOf } from '../spiffe/errors.ts';
import { printable } from '../spiffe/pki/text.ts';
import { type ClusterOptions, withApi } from './api.ts';
import type { Terminal } from './terminal.ts';

/** What `--force` did to an authority although it breaks something. */
export interface ForcedChange {
  readonly verb: string;
  readonly authority: string;
  readonly reason: string;
  readonly consequence: string;
  /** Who loses, as sentences. */
  readonly dependents: readonly string[];
}

const maxNoteBytes = 1024;

/**
 * Shows a forced change to others: an audit line on stderr, and an Event on the pool Secret. The change has been made, so
 * nothing here fails: an Event that cannot be written is a warning.
 */
export async function reportForced(
  terminal: Terminal,
  options: ClusterOptions & PoolPlace,
  change: ForcedChange,
): Promise<void> {
  const { namespace, name } = options;
  const at = terminal.now();
  const line = { level: 'info', time: new Date(at).toISOString(), audit: true, event: 'forced', ...change };
  terminal.err(`${JSON.stringify({ ...line, pool: `${namespace}/${name}` })}\n`);
  const note = `ca ${change.verb} ${change.authority} --force: ${change.reason}. ${[change.consequence, ...change.dependents].join('; ')}`;
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
