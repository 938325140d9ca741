import { isJsonObject, type JsonObject, shown } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import {
  duration,
  type FieldsOf,
  listOf,
  type Reader,
  readBoolean,
  readText,
} from '../kube/field-readers.ts';
import { type LabelSelector, readLabelSelector } from '../kube/label-selector.ts';

export type RegistrationKind = 'WorkloadRegistration' | 'ClusterWorkloadRegistration';

/** How each field of the spec is read. */
const readers = {
  podSelector: readSelector,
  namespaceSelector: readSelector,
  serviceAccountNames: listOf(readText, 'a name'),
  matchAllPods: readBoolean,
  spiffeIDTemplate: readText,
  dnsNameTemplates: listOf(readText),
  autoPopulateDNSNames: readBoolean,
  // The API server takes no shorter certificate of a pod.
  ttl: duration(3600, '1h'),
  jwtTTL: duration(60, '1m'),
  federatesWith: listOf((value) => (typeof value === 'string' ? parseTrustDomain(value) : readText(value))),
  audiences: listOf(readAudience, 'an audience'),
  hint: readHint,
  priority: readPriority,
  fallback: readBoolean,
  className: readText,
} satisfies Record<string, Reader<unknown>>;

export type RegistrationField = keyof typeof readers;
/** The fields of a spec that could be read. */
export type RegistrationFields = FieldsOf<typeof readers>;

/** Higher ones belong to the administrator, so that there are registrations that no team can override. */
const maxTeamPriority = 1000;

const ofClusterKind: ReadonlySet<string> = new Set<RegistrationField>(['namespaceSelector', 'matchAllPods']);

/**
 * Reads the fields of a spec, each by itself.
 *
 * @returns the values, and for each field that cannot be used the reason, to follow its name.
 */
export function readFields(
  kind: RegistrationKind,
  spec: unknown,
): { values: RegistrationFields; problems: Map<string, string> } {
  const values: Record<string, unknown> = {};
  const problems = new Map<string, string>();
  if (!isJsonObject(spec)) problems.set('spec', `is ${shown(spec)}`);
  for (const [field, value] of Object.entries(isJsonObject(spec) ? spec : {})) {
    if (value === undefined || value === null) continue;
    const isKnown = Object.hasOwn(readers, field);
    if (!isKnown || (ofClusterKind.has(field) && kind !== 'ClusterWorkloadRegistration')) {
      // It may restrict what the registration selects or gives, so that the rest alone would be more than was meant.
      problems.set(field, `is not a field of a ${kind} that this version of the signer knows`);
      continue;
    }
    const read = readers[field as RegistrationField](value);
    const isOfTeam = field === 'priority' && kind === 'WorkloadRegistration';
    if (isOfTeam && typeof value === 'number' && value > maxTeamPriority) {
      problems.set(field, `is ${shown(value)}; that of a WorkloadRegistration is at most ${maxTeamPriority}`);
    } else if (read.ok) values[field] = read.value;
    else problems.set(field, read.reason);
  }
  return { values: values as RegistrationFields, problems };
}

function readPriority(value: unknown): Result<number> {
  return Number.isSafeInteger(value)
    ? success(value as number)
    : failure(`is ${shown(value)}, not a whole number`);
}

function readHint(value: unknown): Result<string> {
  const hint = readText(value);
  if (!hint.ok) return hint;
  return /^\P{C}{1,256}$/u.test(hint.value)
    ? hint
    : failure('has more than 256 characters, or characters that cannot be printed');
}

function readAudience(value: unknown): Result<string> {
  const audience = readText(value);
  if (!audience.ok) return audience;
  return /^[\x21-\x29\x2b-\x7e]{0,1023}\*?$/.test(audience.value)
    ? audience
    : failure(`has ${shown(value)}; an audience is printable ASCII, with "*" only at its end`);
}

function readSelector(value: unknown): Result<LabelSelector> {
  if (!isJsonObject(value)) return failure(`is ${shown(value)}, not a label selector`);
  const { matchLabels, matchExpressions, ...others } = value;
  const [other] = Object.keys(others);
  if (other !== undefined) return failure(`has ${shown(other)}, which is not known`);
  if (isGiven(matchLabels) && !isTextByText(matchLabels))
    return failure('has matchLabels that are not texts');
  if (isGiven(matchExpressions) && !isListOfExpressions(matchExpressions)) {
    return failure('has matchExpressions that are not a list of key, operator and values');
  }
  return readLabelSelector({
    ...(isGiven(matchLabels) && { matchLabels }),
    ...(isGiven(matchExpressions) && { matchExpressions }),
  });
}

const isGiven = <T>(value: T): value is NonNullable<T> => value !== undefined && value !== null;

function isTextByText(value: unknown): value is Record<string, string> {
  return isJsonObject(value) && Object.values(value).every((each) => typeof each === 'string');
}

type WireExpression = { key: string; operator: string; values?: string[] };

function isListOfExpressions(value: unknown): value is WireExpression[] {
  const isExpression = ({ key, operator, values, ...others }: JsonObject) =>
    typeof key === 'string' &&
    typeof operator === 'string' &&
    Object.keys(others).length === 0 &&
    (values === undefined || (Array.isArray(values) && values.every((each) => typeof each === 'string')));
  return Array.isArray(value) && value.every((each: unknown) => isJsonObject(each) && isExpression(each));
}
