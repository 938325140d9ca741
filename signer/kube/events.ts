import { randomBytes } from 'node:crypto';
import { messageOf } from '../../spiffe/errors.ts';
import type { Log } from '../observe/log.ts';
import { ApiStatusError } from './api-error.ts';
import { createEventBacklog, lastIntervalMs, type RecordedEvent, type Series } from './event-backlog.ts';
import { createLimiter } from './limiter.ts';
import { microTime } from './micro-time.ts';
import { cutName } from './short-name.ts';
import { pauseWith, type Time } from './time.ts';
import type { Transport } from './transport.ts';
import type { ObjectReference } from './types.ts';

export interface EventRecorderNeeds {
  readonly transport: Transport;
  /** Such as `kubespiffe.io/signer`. */
  readonly controller: string;
  /** The name of this replica; the API takes at most 128 characters. */
  readonly instance: string;
  readonly time: Time;
  readonly log: Log<'debug'>;
}

/** Burst, and writes in a second. */
const burst = 50;
const perSecond = 5;
const maxNoteBytes = 1024;
const flushMs = 1_000;

/** Pause in a namespace after a failed write, in milliseconds. */
const restAfterFailureMs = 5_000;

/** Writes Kubernetes Events (events.k8s.io/v1), for people to read. Losing one is allowed, blocking or throwing is not. */
export function createEventRecorder(needs: EventRecorderNeeds) {
  const { transport, log, time } = needs;
  const { monotonic, timer } = time;
  const pause = pauseWith(timer);
  const backlog = createEventBacklog(time);
  let wake = new AbortController();
  const limiter = createLimiter({ perSecond, burst, time });

  async function write(entry: Series, signal: AbortSignal): Promise<void> {
    const { count } = entry;
    const path = `/apis/events.k8s.io/v1/namespaces/${namespaceOf(entry.event)}/events`;
    const call = { resource: 'events', discardBody: true, retry: 'none', timeoutMs: 5_000, signal } as const;
    try {
      if (entry.name !== undefined) {
        const body = { series: { count, lastObservedTime: microTime(time.now()) } };
        await transport.request({ ...call, method: 'PATCH', path: `${path}/${entry.name}`, body });
      } else {
        const event = newEvent(entry.event, needs);
        await transport.request({ ...call, method: 'POST', path, body: event });
        entry.name = event.metadata.name;
      }
      if (entry.count === count) backlog.done(entry);
      entry.notBefore = monotonic() + entry.intervalMs;
      entry.intervalMs = Math.min(lastIntervalMs, entry.intervalMs * 2);
    } catch (error) {
      log.debug({ reason: entry.event.reason, error: messageOf(error) }, 'an Event could not be written');
      if (entry.name !== undefined && error instanceof ApiStatusError && error.status === 404) {
        entry.name = undefined;
      } else if (error instanceof ApiStatusError && error.status < 500 && error.status !== 429) {
        // The namespace is being deleted, or writing there is forbidden: a retry would not help.
        backlog.done(entry);
      } else {
        backlog.failed(entry, restAfterFailureMs);
      }
    }
  }

  /** Writes what is due. @returns for how long to rest, in milliseconds, and whether a new event ends the rest. */
  async function writeDue(signal: AbortSignal): Promise<{ restMs: number; isEndedByNews: boolean }> {
    while (backlog.nextInMs() === 0) {
      const restMs = signal.aborted ? 0 : limiter.take('all');
      if (signal.aborted || restMs > 0) return { restMs, isEndedByNews: false };
      const entry = backlog.next();
      if (entry) await write(entry, signal);
    }
    return { restMs: backlog.nextInMs(), isEndedByNews: true };
  }

  async function flush(): Promise<void> {
    const deadline = new AbortController();
    const cancel = timer(() => deadline.abort(), flushMs);
    const never = backlog.neverWritten().slice(0, burst);
    await Promise.all(never.map((entry) => write(entry, deadline.signal)));
    cancel();
  }

  return {
    record(event: RecordedEvent): void {
      backlog.add(event);
      wake.abort();
    },
    /** Writes until the signal is aborted, then spends at most a second on Events that were never written. */
    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        wake = new AbortController();
        const { restMs, isEndedByNews } = await writeDue(signal);
        await pause(restMs, isEndedByNews ? AbortSignal.any([signal, wake.signal]) : signal);
      }
      await flush();
    },
  };
}

export type EventRecorder = ReturnType<typeof createEventRecorder>;

/** A Warning on a pod that does not get what was requested for it. */
export function podWarning(
  pod: Pick<ObjectReference, 'namespace' | 'name' | 'uid'>,
  verdict: string,
  more: Pick<RecordedEvent, 'key' | 'reason' | 'note' | 'related'>,
): RecordedEvent {
  return {
    regarding: { apiVersion: 'v1', kind: 'Pod', ...pod },
    type: 'Warning',
    action: verdict === 'deny' ? 'Deny' : 'Wait',
    ...more,
  };
}

const namespaceOf = ({ regarding }: RecordedEvent) => regarding.namespace || 'default';

function newEvent(event: RecordedEvent, needs: EventRecorderNeeds) {
  const { key: _key, note, regarding, ...rest } = event;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: {
      name: `${cutName(regarding.name, 230)}.${randomBytes(8).toString('hex')}`,
      namespace: namespaceOf(event),
    },
    eventTime: microTime(needs.time.now()),
    reportingController: needs.controller,
    reportingInstance: needs.instance,
    regarding,
    ...rest,
    note: cutBytes(note, maxNoteBytes),
  };
}

/** Cuts text to so many bytes of UTF-8 without breaking a character. */
export function cutBytes(text: string, bytes: number): string {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return text;
  // As a stream, the decoder keeps the beginning of a character back.
  return `${new TextDecoder().decode(encoded.subarray(0, bytes - 3), { stream: true })}…`;
}
