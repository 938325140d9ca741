import type { ValueType } from './values.ts';

/** One setting of the signer. Its names as flag, variable and file key follow from its key in the table. */
export interface Setting<T> {
  readonly section: 'Identity' | 'Kubernetes' | 'Certificates' | 'Endpoints' | 'Process';
  readonly type: ValueType<T>;
  /** As a person would write it. Without one, and unless required, the setting may stay open. */
  readonly default?: string;
  readonly required?: true;
  /** Sentences for the person who sets it. */
  readonly description: string;
  /** What stands in for a default that depends on where the signer runs. */
  readonly otherwise?: string;
}
