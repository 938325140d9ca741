/** google.protobuf.Value as @grpc/proto-loader takes it. */
type StructValue =
  | { readonly nullValue: 'NULL_VALUE' }
  | { readonly numberValue: number }
  | { readonly stringValue: string }
  | { readonly boolValue: boolean }
  | { readonly structValue: Struct }
  | { readonly listValue: { readonly values: readonly StructValue[] } };

/** google.protobuf.Struct as @grpc/proto-loader takes it. */
export interface Struct {
  readonly fields: Readonly<Record<string, StructValue>>;
}

/** Readers of protobuf stop at 100 messages inside one another (C++, Java), of which each level takes three. */
export const maxClaimLevels = 32;

/** Whether a JSON value has more levels than clients can read. No recursion: a token may be as deep as it is long. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= maxClaimLevels; depth += 1) {
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
    if (level.length === 0) return false;
  }
  return true;
}

/** A JSON object as a Struct. */
export function structOf(object: object): Struct {
  return {
    fields: Object.fromEntries(Object.entries(object).map(([name, value]) => [name, toValue(value)])),
  };
}

function toValue(value: unknown): StructValue {
  switch (typeof value) {
    case 'number':
      return { numberValue: value };
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    default:
      if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } };
      return typeof value === 'object' && value !== null
        ? { structValue: structOf(value) }
        : { nullValue: 'NULL_VALUE' };
  }
}
