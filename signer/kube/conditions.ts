import { isJsonObject, type JsonObject } from '../../spiffe/json.ts';

/** A condition that we write, with one of some types. */
export interface StatusCondition<Type extends string> {
  readonly type: Type;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  /** RFC 3339, when `status` changed last. */
  readonly lastTransitionTime: string;
}

/** The condition of a type in a status that another version of the signer or another writer may have set. */
export function conditionIn(status: unknown, type: string): JsonObject | undefined {
  const { conditions } = isJsonObject(status) ? status : {};
  const all: unknown[] = Array.isArray(conditions) ? conditions : [];
  return all.filter(isJsonObject).find((each) => each.type === type);
}

/** A message may name several objects, each with a name of up to 253 characters. */
const longestMessage = 1024;

/** Cuts the message of a condition to what is kept of it. */
export function cutMessage(message: string): string {
  return message.length > longestMessage ? `${message.slice(0, longestMessage - 1)}…` : message;
}

/**
 * Makes the conditions of a status. One whose `status` is the same as before keeps its time.
 *
 * @param observed the status that the object has now. @param now RFC 3339.
 */
export function conditionsAfter<Type extends string>(
  observed: unknown,
  observedGeneration: number,
  now: string,
): (type: Type, isTrue: boolean, reason: string, message: string) => StatusCondition<Type> {
  return (type, isTrue, reason, message) => {
    const status = isTrue ? 'True' : 'False';
    const { status: before, lastTransitionTime: since } = conditionIn(observed, type) ?? {};
    const lastTransitionTime = before === status && typeof since === 'string' ? since : now;
    return { type, status, reason, message: cutMessage(message), observedGeneration, lastTransitionTime };
  };
}
