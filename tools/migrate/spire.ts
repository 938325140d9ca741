import { parseDuration } from '../../signer/config/values.ts';
import { isJsonObject, type JsonObject } from '../../spiffe/json.ts';
import type { FileObject } from '../registration/documents.ts';
import { lint } from '../registration/lint.ts';
import { changed, check, leftOut, type Made, type Migration, type Note, type Remark } from './notes.ts';
import { federatedTrustDomain } from './spire-federation.ts';
import { type Selection, selectionOf } from './spire-selectors.ts';

export const spireGroup = 'spire.spiffe.io';

const converters: Readonly<Record<string, (name: string, spec: JsonObject) => Made>> = {
  ClusterSPIFFEID: clusterSpiffeId,
  ClusterStaticEntry: clusterStaticEntry,
  ClusterFederatedTrustDomain: federatedTrustDomain,
};

/**
 * Translates resources of the SPIRE controller manager into ours. No result gives a name to more pods than the
 * original does: anything that would do so is left out. Pure.
 *
 * @param clusterDomain what templates call .ClusterDomain, which the signer does not know.
 */
export function migrateSpire(objects: readonly FileObject[], clusterDomain?: string): Migration {
  const made: JsonObject[] = [];
  const notes: Note[] = [];
  for (const { kind, name, apiVersion, object } of objects) {
    const title = `${kind || 'object'} ${name || '(without a name)'}`;
    const convert = apiVersion.startsWith(`${spireGroup}/`) ? converters[kind] : undefined;
    if (!convert) {
      const message = 'it is not a resource of the SPIRE controller manager that registers workloads';
      notes.push({ object: title, ...leftOut(message) });
      continue;
    }
    const spec = withClusterDomain(isJsonObject(object.spec) ? object.spec : {}, clusterDomain);
    const result = convert(name, spec);
    const problem = result.object && problemOf(result.object);
    if (result.object && problem === undefined) made.push(result.object);
    const all = problem === undefined ? result.notes : [leftOut(problem)];
    notes.push(...all.flatMap((note) => (note ? { object: title, ...note } : [])));
  }
  const registrations = made.filter(({ kind }) => kind === 'ClusterWorkloadRegistration');
  if (registrations.length > 1) {
    const message =
      'a pod that several of them match gets no name (RegistrationAmbiguous), where SPIRE gives it one identity for each. ' +
      'Give them different priorities, and see `kubespiffe registration what-if -f FILE`';
    notes.push({ object: `${registrations.length} registrations`, ...check(message) });
  }
  return { objects: made, notes };
}

const clusterDomainValue = /\{\{\s*\.ClusterDomain\s*\}\}/g;

function withClusterDomain(spec: JsonObject, clusterDomain: string | undefined): JsonObject {
  if (clusterDomain === undefined) return spec;
  const filled = (value: unknown) =>
    typeof value === 'string' ? value.replace(clusterDomainValue, clusterDomain) : value;
  const { spiffeIDTemplate, dnsNameTemplates } = spec;
  return {
    ...spec,
    spiffeIDTemplate: filled(spiffeIDTemplate),
    ...(Array.isArray(dnsNameTemplates) && { dnsNameTemplates: dnsNameTemplates.map(filled) }),
  };
}

/** Why the signer would not use a registration. */
function problemOf(object: JsonObject): string | undefined {
  if (object.kind !== 'ClusterWorkloadRegistration') return undefined;
  const { name } = object.metadata as { name: string };
  const file = { file: '', apiVersion: String(object.apiVersion), kind: String(object.kind), name };
  const report = lint([{ ...file, namespace: undefined, object, lineOf: () => 1 }]);
  const message = report.problems.find(({ severity }) => severity === 'error')?.message;
  return message?.includes('.ClusterDomain')
    ? 'its templates use .ClusterDomain, which the signer does not know: give the domain with --cluster-domain'
    : message;
}

function registration(name: string, spec: JsonObject): JsonObject {
  const given = Object.entries(spec).filter(([, value]) => value !== undefined);
  return {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'ClusterWorkloadRegistration',
    metadata: { name },
    spec: Object.fromEntries(given),
  };
}

function clusterSpiffeId(name: string, spec: JsonObject): Made {
  const templates = listOfTexts(spec.workloadSelectorTemplates);
  const selection = selectionOf(templates, spec);
  if (!selection.ok) return { notes: [leftOut(`workloadSelectorTemplates ${selection.reason}`)] };
  const { selects, isAll } = selection.value;
  const shared = sharedFields(spec, { ttl: spec.ttl, jwtTTL: spec.jwtTtl });
  return {
    object: registration(name, {
      ...selects,
      ...(isAll && { matchAllPods: true }),
      spiffeIDTemplate: spec.spiffeIDTemplate,
      ...nonEmptyList('dnsNameTemplates', spec.dnsNameTemplates),
      ...(spec.autoPopulateDNSNames === true && { autoPopulateDNSNames: true }),
      ...shared.fields,
      ...(spec.fallback === true && { fallback: true }),
    }),
    notes: [
      selects.namespaceSelector === undefined &&
        check(
          `it selects ${isAll ? 'every pod' : 'pods in every namespace'} of the cluster. Namespaces that the configuration of the SPIRE controller manager ignores are included: add a namespaceSelector without them`,
        ),
      spec.autoPopulateDNSNames === true &&
        check(
          'autoPopulateDNSNames adds the names of Services whose selector matches the pod, also before the pod is ready. SPIRE adds SERVICE and SERVICE.NAMESPACE too; here names begin with SERVICE.NAMESPACE.svc, so clients must use such a name',
        ),
      ...templateNotes([spec.spiffeIDTemplate, ...listOfTexts(spec.dnsNameTemplates)]),
      ...shared.notes,
    ],
  };
}

function clusterStaticEntry(name: string, spec: JsonObject): Made {
  const selection: Selection = selectionOf(listOfTexts(spec.selectors), {});
  if (!selection.ok) return { notes: [leftOut(`selectors ${selection.reason}`)] };
  if (selection.value.isAll) return { notes: [leftOut('it has no selectors')] };
  const shared = sharedFields(spec, { ttl: spec.x509SVIDTTL, jwtTTL: spec.jwtSVIDTTL });
  return {
    object: registration(name, {
      ...selection.value.selects,
      spiffeIDTemplate: spec.spiffeID,
      ...nonEmptyList('dnsNameTemplates', spec.dnsNames),
      ...shared.fields,
    }),
    notes: [
      check(`parentID ${String(spec.parentID)} has no counterpart: the pods may run on any node`),
      ...shared.notes,
    ],
  };
}

/** Fields that both kinds have. */
function sharedFields(
  spec: JsonObject,
  given: Record<'ttl' | 'jwtTTL', unknown>,
): { fields: JsonObject; notes: Made['notes'] } {
  const lifetimes: Record<string, unknown> = {};
  const raised: Remark[] = [];
  for (const [field, least] of [
    ['ttl', '1h'],
    ['jwtTTL', '1m'],
  ] as const) {
    const value = given[field];
    const ms = parseDuration(String(value ?? '0s'));
    // The controller manager writes 0s where nothing was given.
    if (ms === 0) continue;
    const isShort = ms !== undefined && ms < (parseDuration(least) ?? 0);
    lifetimes[field] = isShort ? least : value;
    if (isShort)
      raised.push(changed(`${field} was ${String(value)}, and ${least} is the least that is possible`));
  }
  const federatesWith = nonEmptyList('federatesWith', spec.federatesWith);
  const className = nonEmptyText('className', spec.className);
  return {
    fields: { ...lifetimes, ...federatesWith, ...nonEmptyText('hint', spec.hint), ...className },
    notes: [
      ...raised,
      spec.admin === true && changed('admin was left out: it is a right at the API of the SPIRE server'),
      spec.downstream === true &&
        changed(
          'downstream was left out: it lets a nested SPIRE server get a CA, and this signer issues certificates for workloads only',
        ),
      check(
        'federatesWith' in federatesWith
          ? 'federatesWith is kept. It decides which bundles the workload gets; each needs a FederatedTrustDomain'
          : 'without federatesWith SPIRE gives no bundles of other trust domains. Here the setting federateByDefault decides: set it to none for the same',
      ),
      'className' in className &&
        check(
          `className ${spec.className} is kept: only signers with the setting registrationClass ${spec.className} use it. Remove it for a signer without that setting`,
        ),
    ],
  };
}

/** The settings that templates use. */
function templateNotes(templates: readonly unknown[]): Made['notes'] {
  const text = templates.map(String).join(' ');
  const found = text.matchAll(/\.PodMeta\.Annotations(?:\s+["`]([^"`]+)["`]|\.(\w+))/g);
  const annotations = new Set([...found].map(([, one, other]) => one ?? other));
  return [
    text.includes('.ClusterName') && check('the templates use .ClusterName: set clusterName of the signer'),
    annotations.size > 0 &&
      check(
        `the templates use annotations: add ${[...annotations].join(', ')} to the setting podAnnotations of the signer`,
      ),
  ];
}

function listOfTexts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}

const nonEmptyList = (field: string, value: unknown): JsonObject => {
  const list = listOfTexts(value);
  return list.length > 0 ? { [field]: list } : {};
};

const nonEmptyText = (field: string, value: unknown): JsonObject =>
  typeof value === 'string' && value !== '' ? { [field]: value } : {};
