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
