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

type Section = (typeof settingSections)[number];

/** One setting. Its names as flag, variable and file key follow from its key in the table. */
export interface Setting<T> {
  readonly section: Section;
  readonly type: ValueType<T>;
  /** As a person would write it. Without one, and unless required, the setting may stay open. */
  readonly default?: string;
  readonly required?: true;
  /** Paths of the settings that must be set (or true) if this one is. */
  readonly needs?: readonly string[];
  /** Sentences for the person who sets it. */
  readonly description: string;
  /** Shown instead of a default that depends on where the signer runs. */
  readonly otherwise?: string;
}

/** The settings of one section. */
export function inSection<const T extends Readonly<Record<string, Omit<Setting<unknown>, 'section'>>>>(
  section: Section,
  settings: T,
) {
  const entries = Object.entries(settings).map(([key, setting]) => [key, { ...setting, section }]);
  return Object.fromEntries(entries) as { readonly [K in keyof T]: T[K] & { readonly section: Section } };
}
