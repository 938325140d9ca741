import {
  childrenOf,
  contentOf,
  contextTag,
  cursor,
  derError,
  type Element,
  soleElement,
  tags,
} from './der.ts';
import { generalNameKind } from './extensions.ts';

/** One base of a subtree of names. */
export interface NameSubtree {
  /** Such as "URI" or "DNS". */
  readonly kind: string;
  /** The base as text, for the kinds that are texts; empty for the others. */
  readonly base: string;
}

/** What a CA may name in the certificates below it (RFC 5280 4.2.1.10). */
export interface NameConstraints {
  readonly permitted: readonly NameSubtree[];
  readonly excluded: readonly NameSubtree[];
}

const textKinds: readonly string[] = ['URI', 'DNS', 'email'];

/** Reads the DER of a nameConstraints extension. Throws a DER error. */
export function nameConstraintsOf(value: Uint8Array): NameConstraints {
  const fields = cursor(soleElement(value, tags.sequence, 'nameConstraints'));
  const subtrees = (number: number): NameSubtree[] =>
    fields.peek() === contextTag(number)
      ? childrenOf(fields.any('the subtrees of nameConstraints')).map(subtreeOf)
      : [];
  const permitted = subtrees(0);
  const excluded = subtrees(1);
  fields.end('nameConstraints');
  if (permitted.length + excluded.length === 0) throw derError('nameConstraints is empty');
  return { permitted, excluded };
}

function subtreeOf(element: Element): NameSubtree {
  const fields = cursor(element);
  const name = fields.any('the base of a subtree');
  // RFC 5280 4.2.1.10: minimum is 0, the default, and maximum is absent.
  fields.end('a subtree of nameConstraints');
  const kind = generalNameKind(name);
  const base = textKinds.includes(kind) ? Buffer.from(contentOf(name)).toString('latin1') : '';
  return { kind, base };
}
