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

/** The conditions of a status, which another version of the signer or another writer may have set. */
function conditionsIn(status: unknown): readonly JsonObject[] {
  const { conditions } = isJsonObject(status) ? status : {};
  return Array.isArray(conditions) ? (conditions as unknown[]).filter(isJsonObject) : [];
}

/** The condition of a type; undefined where there is none. */
export function conditionIn(status: unknown, type: string): JsonObject | undefined {
  return conditionsIn(status).find((each) => each.type === type);
}

/** Since when conditions have their status (RFC 3339), by `type=status`. */
export function transitionsIn(status: unknown): ReadonlyMap<string, string> {
  const times = new Map<string, string>();
  for (const { type, status: value, lastTransitionTime } of conditionsIn(status)) {
    if (typeof lastTransitionTime === 'string')
      times.set(`${String(type)}=${String(value)}`, lastTransitionTime);
  }
  return times;
}
