import { CliError } from '../errors.ts';
import { inspectObject } from './objects.ts';
import { type InspectContext, knownForms } from './pem.ts';
import { finding, type Inspection, type Section } from './report.ts';

/**
 * Inspects the documents of a YAML stream, and the items of each List among them, as `kubectl get -o yaml` prints them.
 * With several objects, those of other kinds are listed as not inspected, and one that cannot be read does not conform.
 *
 * @throws CliError when there is one object and it cannot be inspected, or several and none can.
 */
export function inspectObjects(documents: readonly unknown[], context: InspectContext): Inspection {
  const objects = documents.flatMap(itemsOf);
  const [only] = objects;
  if (objects.length === 0) throw new CliError('USAGE', 'there is no object in it', knownForms);
  if (objects.length === 1) return inspectObject(only, context);
  const inspected = objects.map((object) => attempt(object, context));
  const isKnown = inspected.some(({ error }) => !isOfOtherKind(error));
  if (!isKnown) throw inspected[0]?.error;
  return {
    kind: `${objects.length} objects`,
    sections: inspected.flatMap(({ name, inspection, error }): Section | Section[] => {
      if (inspection) {
        return inspection.sections.map((section) => ({ ...section, title: `${name}: ${section.title}` }));
      }
      const { code = '', message = '' } = error ?? {};
      if (isOfOtherKind(error)) {
        return { title: `${name}: not inspected`, facts: { Reason: message }, findings: [] };
      }
      return { title: name, facts: {}, findings: [finding('must', code, 'it can be read', message)] };
    }),
  };
}

/** The items of a List; of one that the API server prints itself, such as a ClusterTrustBundleList, with their kind. */
function itemsOf(value: unknown): unknown[] {
  if (value === null) return [];
  if (typeof value !== 'object' || !('kind' in value) || !('items' in value)) return [value];
  const { kind, items } = value;
  if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return [value];
  const itemKind = kind.slice(0, -'List'.length);
  return items.map((item) => (itemKind === '' ? item : { kind: itemKind, ...item }));
}

interface Attempt {
  readonly name: string;
  readonly inspection?: Inspection;
  readonly error?: CliError;
}

function attempt(object: unknown, context: InspectContext): Attempt {
  const name = nameOf(object);
  try {
    return { name, inspection: inspectObject(object, context) };
  } catch (error) {
    if (error instanceof CliError) return { name, error };
    throw error;
  }
}

function nameOf(object: unknown): string {
  const { kind, metadata } = (object ?? {}) as { kind?: unknown; metadata?: Record<string, unknown> | null };
  const path = [metadata?.namespace, metadata?.name].filter((each) => typeof each === 'string').join('/');
  return [typeof kind === 'string' ? kind : 'object', path].filter(Boolean).join(' ');
}

const isOfOtherKind = (error: CliError | undefined): boolean => error?.code === 'USAGE';
