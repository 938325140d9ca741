import type { JsonObject } from '../../spiffe/json.ts';

/** What a person has to know about one object. `left out`: it has no counterpart, so nothing was written for it. */
export interface Note {
  /** Such as `ClusterSPIFFEID web`. */
  readonly object: string;
  readonly severity: 'left out' | 'changed' | 'check';
  readonly message: string;
}

export interface Migration {
  readonly objects: readonly JsonObject[];
  readonly notes: readonly Note[];
}

/** What is made of one object. */
export interface Made {
  readonly object?: JsonObject;
  readonly notes: readonly Omit<Note, 'object'>[];
}

export const leftOut = (message: string): Omit<Note, 'object'> => ({ severity: 'left out', message });
export const changed = (message: string): Omit<Note, 'object'> => ({ severity: 'changed', message });
export const check = (message: string): Omit<Note, 'object'> => ({ severity: 'check', message });
