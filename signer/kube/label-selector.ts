import { shown } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';

export type Labels = Readonly<Record<string, string>>;

const keyForm = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/;

/** Whether a text can be the key of a label or annotation, such as `app.kubernetes.io/name`. */
export function isLabelKey(text: string): boolean {
  return text.length <= 317 && keyForm.test(text);
}

/** A metav1.LabelSelector as it comes over the wire. */
export interface WireLabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** A label selector that was read. All of its requirements must hold. Without any, it selects everything. */
export interface LabelSelector {
  /** Labels that must have exactly this value. */
  readonly equal: readonly (readonly [key: string, value: string])[];
  readonly expressions: readonly LabelExpression[];
}

export type LabelExpression =
  | { readonly key: string; readonly operator: 'In' | 'NotIn'; readonly values: readonly string[] }
  | { readonly key: string; readonly operator: 'Exists' | 'DoesNotExist' };

export const selectsAll: LabelSelector = { equal: [], expressions: [] };

/** Reads a selector. An `In` with one value counts as an equality, so that an index can find its objects. Never throws. */
export function readLabelSelector(wire: WireLabelSelector): Result<LabelSelector> {
  const equal: (readonly [string, string])[] = Object.entries(wire.matchLabels ?? {});
  const keys = [...equal.map(([key]) => key), ...(wire.matchExpressions ?? []).map(({ key }) => key)];
  const notKey = keys.find((key) => !isLabelKey(key));
  if (notKey !== undefined) return failure(`names the label ${shown(notKey)}, which no object can have`);
  const expressions: LabelExpression[] = [];
  for (const { key, operator, values = [] } of wire.matchExpressions ?? []) {
    switch (operator) {
      case 'In':
      case 'NotIn': {
        const [first] = values;
        if (first === undefined) return failure(`operator ${operator} of the label ${key} needs values`);
        if (operator === 'In' && values.length === 1) equal.push([key, first]);
        else expressions.push({ key, operator, values });
        break;
      }
      case 'Exists':
      case 'DoesNotExist':
        if (values.length > 0) return failure(`operator ${operator} of the label ${key} takes no values`);
        expressions.push({ key, operator });
        break;
      default:
        return failure(
          `operator ${JSON.stringify(operator)} of the label ${key} is not known; use In, NotIn, Exists or DoesNotExist`,
        );
    }
  }
  return success({ equal, expressions });
}

/** Whether a selector selects an object with these labels, as the API server decides it. Pure. */
export function selects({ equal, expressions }: LabelSelector, labels: Labels = {}): boolean {
  return equal.every(([key, value]) => labelOf(labels, key) === value) && expressions.every(holdsFor(labels));
}

/**
 * Why a selector does not select these labels, as a sentence; undefined if it does.
 *
 * @param owner what the sentence calls the object with the labels.
 */
export function mismatch(
  selector: LabelSelector,
  labels: Labels = {},
  owner = 'the pod',
): string | undefined {
  for (const [key, value] of selector.equal) {
    const found = labelOf(labels, key);
    if (found === undefined) return `${owner} lacks the label ${key}=${value}`;
    if (found !== value)
      return `${owner} has the label ${key}=${found}, and the selector needs ${key}=${value}`;
  }
  const failed = selector.expressions.find((expression) => !holdsFor(labels)(expression));
  if (!failed) return undefined;
  const values =
    'values' in failed
      ? ` (${failed.values.slice(0, 5).join(', ')}${failed.values.length > 5 ? ', …' : ''})`
      : '';
  return `the label ${failed.key} of ${owner} does not fulfil ${failed.operator}${values}`;
}

const holdsFor = (labels: Labels) => (expression: LabelExpression) => {
  const value = labelOf(labels, expression.key);
  switch (expression.operator) {
    case 'In':
      return value !== undefined && expression.values.includes(value);
    case 'NotIn':
      return value === undefined || !expression.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
};

/** A label may be named like a member of every object, such as `constructor`. */
function labelOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
