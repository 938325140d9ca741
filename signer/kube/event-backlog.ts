import type { Time } from './time.ts';
import type { ObjectReference } from './types.ts';

export interface RecordedEvent {
  /** Events of one key and note become one Event whose series counts them. */
  readonly key: string;
  readonly regarding: ObjectReference;
  readonly related?: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  /** For people; cut to 1024 bytes, which is what the API takes. */
  readonly note: string;
}

/** Events of one key and note. They are one Event in the cluster, whose series counts them. */
export interface Series {
  readonly event: RecordedEvent;
  /** The Event's name once it is written. */
  name: string | undefined;
  count: number;
  /** Monotonic milliseconds. */
  lastSeen: number;
  intervalMs: number;
  /** Earliest time to write it, in monotonic milliseconds. */
  notBefore: number;
}

/** Series held at most, in all namespaces together. */
const maxSeries = 4096;
/** Series held for writing, in all namespaces together, while the API server or the rate does not let them through. */
const maxUnwritten = 1024;
/** The first repetition is written after this long, in milliseconds. The interval doubles each time. */
const firstIntervalMs = 30_000;
export const lastIntervalMs = 600_000;
/** The server keeps an Event for an hour: a repetition after that is a new Event. */
const forgottenAfterMs = 3_300_000;

/** What is known of a namespace. */
interface Place {
  /** By key, the least recently seen first. */
  readonly series: Map<string, Series>;
  /** Longest waiting first. */
  readonly unwritten: Set<Series>;
  restsUntil: number;
}

/**
 * The known Events, and which of them must still be written. The total is bounded. When it is full, the namespace with most
 * entries loses its oldest one.
 */
export function createEventBacklog({ monotonic }: Time) {
  // The namespace whose turn was last stands at the end.
  const places = new Map<string, Place>();

  function placeOf(namespace: string): Place {
    const known = places.get(namespace);
    if (known) return known;
    const place: Place = { series: new Map(), unwritten: new Set(), restsUntil: 0 };
    places.set(namespace, place);
    return place;
  }

  function drop(place: Place, series: Series | undefined): void {
    if (!series) return;
    place.unwritten.delete(series);
    if (place.series.get(series.event.key) === series) place.series.delete(series.event.key);
    if (place.series.size === 0) places.delete(series.event.regarding.namespace);
  }

  /** Drops the oldest entry of the namespace with most entries. */
  function trim(of: 'series' | 'unwritten', most: number): void {
    let total = 0;
    let fullest: Place | undefined;
    for (const place of places.values()) {
      total += place[of].size;
      if (!fullest || place[of].size > fullest[of].size) fullest = place;
    }
    if (fullest && total > most) drop(fullest, fullest[of].values().next().value);
  }

  const dueAt = (place: Place, series: Series) => Math.max(place.restsUntil, series.notBefore);

  return {
    add(event: RecordedEvent): void {
      const place = placeOf(event.regarding.namespace);
      const known = place.series.get(event.key);
      const isSame =
        known?.event.note === event.note && monotonic() - known.lastSeen < forgottenAfterMs
          ? known
          : undefined;
      if (known && !isSame) place.unwritten.delete(known);
      const series: Series = isSame ?? {
        event,
        name: undefined,
        count: 0,
        intervalMs: firstIntervalMs,
        notBefore: 0,
        lastSeen: 0,
      };
      series.count += 1;
      series.lastSeen = monotonic();
      place.series.delete(event.key);
      place.series.set(event.key, series);
      place.unwritten.add(series);
      trim('series', maxSeries);
      trim('unwritten', maxUnwritten);
    },
    /** The next Event to write. Namespaces take turns, so one with many Events does not delay another. */
    next(): Series | undefined {
      for (const [namespace, place] of places) {
        for (const series of place.unwritten) {
          if (dueAt(place, series) > monotonic()) continue;
          places.delete(namespace);
          places.set(namespace, place);
          return series;
        }
      }
      return undefined;
    },
    /** Milliseconds until next() may return something, if nothing is added. */
    nextInMs(): number {
      let earliest = Number.POSITIVE_INFINITY;
      for (const place of places.values()) {
        for (const series of place.unwritten) earliest = Math.min(earliest, dueAt(place, series));
      }
      return Math.min(lastIntervalMs, Math.max(0, earliest - monotonic()));
    },
    /** The Event was written, or given up. */
    done(series: Series): void {
      places.get(series.event.regarding.namespace)?.unwritten.delete(series);
    },
    /** The write failed: nothing in the namespace is due for this long, and then its other Events come first. */
    failed(series: Series, restMs: number): void {
      const place = places.get(series.event.regarding.namespace);
      // It may have been dropped meanwhile.
      if (!place?.unwritten.delete(series)) return;
      place.unwritten.add(series);
      place.restsUntil = monotonic() + restMs;
    },
    /** Events that were never written, the namespaces in turns. */
    neverWritten(): Series[] {
      const never = [...places.values()].map(({ unwritten }) =>
        [...unwritten].filter(({ name }) => name === undefined),
      );
      const turns = Math.max(0, ...never.map(({ length }) => length));
      return Array.from({ length: turns }, (_, turn) => never.flatMap((list) => list[turn] ?? [])).flat();
    },
  };
}
