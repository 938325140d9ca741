import { nameOfRegistration, type Registration } from './registration.ts';

/** What registrations do for one pod. */
export interface PodOutcome {
  /** All that match the pod. */
  readonly selectedBy: readonly Registration[];
  /** The one from which it has its name. */
  readonly namedBy?: Registration;
  /** Why it has none, and which of them would have had to give it one. */
  readonly failure?: {
    readonly of: readonly Registration[];
    readonly reason: string;
    readonly message: string;
  };
}

/** What one registration does, counted. */
export interface Tally {
  readonly selected: number;
  readonly named: number;
  /** Reasons by the key of the pod. */
  readonly failures: ReadonlyMap<string, string>;
}

/** What is remembered of a pod: names, since registrations are replaced when they change. */
interface Counted {
  readonly selectedBy: readonly string[];
  readonly namedBy: string | undefined;
  readonly failedBy: readonly string[];
  readonly reason: string;
}

interface Counting {
  selected: number;
  named: number;
  readonly failures: Map<string, string>;
}

/**
 * A pod is counted for at most this many of the registrations that select it. Otherwise a tenant with thousands of
 * registrations for all of its pods would make memory and time grow as pods times registrations.
 */
const mostCounted = 100;

const nothing: Tally = { selected: 0, named: 0, failures: new Map() };

/** Counts what registrations do, pod by pod, so that a change costs as much as it affects. */
export function createTallies() {
  const pods = new Map<string, Counted>();
  const tallies = new Map<string, Counting>();
  /** Most pods are selected by one registration that names them: they share what is remembered. */
  const usual = new Map<string, Counted>();

  function remembered({ selectedBy, namedBy, failure }: PodOutcome): Counted {
    // Those that the pod concerns most come first.
    const all = new Set([...(namedBy ? [namedBy] : []), ...(failure?.of ?? []), ...selectedBy]);
    const names = [...all].slice(0, mostCounted).map(nameOfRegistration);
    const [only = ''] = names;
    const counted = {
      selectedBy: names,
      namedBy: namedBy && nameOfRegistration(namedBy),
      failedBy: failure?.of.slice(0, mostCounted).map(nameOfRegistration) ?? [],
      reason: failure?.reason ?? '',
    };
    if (names.length !== 1 || counted.namedBy !== only) return counted;
    const known = usual.get(only) ?? counted;
    usual.set(only, known);
    return known;
  }

  function add(podKey: string, { selectedBy, namedBy, failedBy, reason }: Counted, sign: 1 | -1): void {
    for (const name of selectedBy) {
      const tally = tallies.get(name) ?? { selected: 0, named: 0, failures: new Map() };
      tallies.set(name, tally);
      tally.selected += sign;
      if (name === namedBy) tally.named += sign;
      if (!failedBy.includes(name)) continue;
      if (sign === 1) tally.failures.set(podKey, reason);
      else tally.failures.delete(podKey);
    }
  }

  function drop(name: string): void {
    if (tallies.get(name)?.selected !== 0) return;
    tallies.delete(name);
    usual.delete(name);
  }

  return {
    /** Counts a pod anew. @returns the names of the registrations whose tally may have changed. */
    count(podKey: string, outcome: PodOutcome | undefined): readonly string[] {
      const before = pods.get(podKey);
      const after = outcome && outcome.selectedBy.length > 0 ? remembered(outcome) : undefined;
      // The message of a failure may have changed all the same.
      if (before === after) return [];
      if (before) add(podKey, before, -1);
      if (after) {
        pods.set(podKey, after);
        add(podKey, after, 1);
      } else {
        pods.delete(podKey);
      }
      const names = [...new Set([...(before?.selectedBy ?? []), ...(after?.selectedBy ?? [])])];
      for (const name of names) drop(name);
      return names;
    },
    /** @param name as nameOfRegistration has it. */
    of: (name: string): Tally => tallies.get(name) ?? nothing,
  };
}

export type Tallies = ReturnType<typeof createTallies>;
