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

export type Remark = Omit<Note, 'object'>;

/** What is made of one object. False means that the remark does not apply. */
export interface Made {
  readonly object?: JsonObject;
  readonly notes: readonly (Remark | false)[];
}

export const leftOut = (message: string): Remark => ({ severity: 'left out', message });
export const changed = (message: string): Remark => ({ severity: 'changed', message });
export const check = (message: string): Remark => ({ severity: 'check', message });
