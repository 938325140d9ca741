import type { ValueType } from './values.ts';

/** In the order of help and documentation. */
export const settingSections = [
  'Identity',
  'Signers',
  'Authorities',
  'Kubernetes',
  'Endpoints',
  'Federation',
  'Keys',
  'Process',
] as const;

/** One setting. Its names as flag, variable and file key follow from its key in the table. */
export interface Setting<T> {
  readonly section: (typeof settingSections)[number];
  readonly type: ValueType<T>;
  /** As a person would write it. Without one, and unless required, the setting may stay open. */
  readonly default?: string;
  readonly required?: true;
  /** Paths of settings that must be set, or true, where this one is. */
  readonly needs?: readonly string[];
  /** Sentences for the person who sets it. */
  readonly description: string;
  /** What stands in for a default that depends on where the signer runs. */
  readonly otherwise?: string;
}
