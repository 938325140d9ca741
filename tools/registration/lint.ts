import { noPolicy, type RegistrationPolicy, readPolicy } from '../../signer/identity/guard-rails.ts';
import { registeredName } from '../../signer/identity/registered-name.ts';
import {
  nameOfRegistration,
  type Registration,
  readRegistration,
} from '../../signer/identity/registration.ts';
import { type RegistrationKind, readFields } from '../../signer/identity/registration-fields.ts';
import type { TemplateContext } from '../../signer/identity/registration-grant.ts';
import { policyName } from '../../signer/identity/registration-specs.ts';
import type { NamedPod } from '../../signer/identity/resolve.ts';
import { parseTemplate, type Template } from '../../signer/identity/template.ts';
import { isDnsName } from '../../spiffe/dns-name.ts';
import { isJsonObject } from '../../spiffe/json.ts';
import type { FileObject } from './documents.ts';

/** What is wrong in a file, and where. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  /** `error`: the registration gives no name, or not what is written. `warning`: it counts for nothing. */
  readonly severity: 'error' | 'warning';
  /** Such as `WorkloadRegistration shop/web`. */
  readonly object: string;
  readonly message: string;
}

export interface LintReport {
  readonly registrations: number;
  readonly problems: readonly Problem[];
}

/** The rules of the cluster for templates; undefined where they are not known. */
export interface LintSettings extends TemplateContext {
  readonly trustDomain: string;
}

const group = 'kubespiffe.io/v1alpha1';
const kinds = ['WorkloadRegistration', 'ClusterWorkloadRegistration'] as const;
const isRegistration = (kind: string): kind is RegistrationKind => kinds.some((each) => each === kind);

/** Checks registrations as the signer reads them. Pure. @param settings of the signer, where they are known. */
export function lint(objects: readonly FileObject[], settings?: LintSettings): LintReport {
  const problems: Problem[] = [];
  const seen: Parameters<typeof checkOthers>[2] = new Map();
  let registrations = 0;
  const policies = objects.filter(({ kind }) => kind === 'ClusterRegistrationPolicy');
  const policy = policies.find(({ name }) => name === policyName);
  const granted = policy && readPolicy(policy.object);
  for (const of of objects) {
    const name = [of.namespace, of.name].filter(Boolean).join('/') || '(without a name)';
    const about = { file: of.file, object: `${of.kind || 'object'} ${name}` };
    const report: Report = (severity, path, message) =>
      problems.push({ ...about, line: of.lineOf(path), severity, message });
    checkMetadata(of, report);
    if (of.kind === 'ClusterRegistrationPolicy') checkPolicy(of, report);
    if (!isRegistration(of.kind)) continue;
    const context = settings ?? permissive(of.object);
    const registration = readRegistration(of.kind, of.object, context);
    checkSpec(of, of.kind, context, report);
    checkNames(registration, settings, granted, report);
    checkOthers(registration, of, seen, report);
    registrations += 1;
  }
  problems.sort((one, other) => one.file.localeCompare(other.file) || one.line - other.line);
  return { registrations, problems };
}

type Report = (severity: Problem['severity'], path: readonly (string | number)[], message: string) => void;

function checkMetadata({ apiVersion, kind, name, namespace }: FileObject, report: Report): void {
  if (!isRegistration(kind) && kind !== 'ClusterRegistrationPolicy') {
    if (apiVersion.startsWith('kubespiffe.io/'))
      report('error', ['kind'], `there is no kind ${kind} in ${group}`);
    else report('warning', ['kind'], 'it is not a registration and was not checked');
    return;
  }
  if (apiVersion !== group) {
    report('error', ['apiVersion'], `apiVersion is ${apiVersion || 'missing'}; write ${group}`);
  }
  if (!isDnsName(name)) report('error', ['metadata', 'name'], 'metadata.name is not a valid name');
  if (kind !== 'WorkloadRegistration' && namespace !== undefined) {
    const message = `a ${kind} belongs to no namespace; remove metadata.namespace`;
    report('error', ['metadata', 'namespace'], message);
  }
}

function checkPolicy({ name, object }: FileObject, report: Report): void {
  if (name !== policyName) {
    report('warning', ['metadata', 'name'], `only the policy with the name ${policyName} counts`);
  }
  for (const message of readPolicy(object).problems) report('error', ['spec', 'grants'], message);
}

/** Each field that cannot be used, and what is wrong with the others together. */
function checkSpec(of: FileObject, kind: RegistrationKind, context: TemplateContext, report: Report): void {
  const { spec } = of.object;
  const { problems } = readFields(kind, spec);
  for (const [field, reason] of problems) {
    report('error', field === 'spec' ? ['spec'] : ['spec', field], `${field} ${reason}`);
  }
  if (!isJsonObject(spec)) return;
  const others = Object.fromEntries(Object.entries(spec).filter(([field]) => !problems.has(field)));
  const { grant } = readRegistration(kind, { ...of.object, spec: others }, context);
  if (grant.ok) return;
  const field = grant.message.split(' ', 1)[0] ?? '';
  // What a field that was reported would have said is not missing.
  const follows = problems.has(field) || (field === 'spec' && problems.size > 0);
  if (!follows) report('error', ['spec', field], grant.message);
}

/** What the guard rails say of the name of a pod whose every label and annotation is `x`. */
function checkNames(
  registration: Registration,
  settings: LintSettings | undefined,
  policy: RegistrationPolicy | undefined,
  report: Report,
): void {
  const { grant, namespace = 'x' } = registration;
  // Without a namespace in the file it is not known which names it may use.
  if (!grant.ok || namespace === '') return;
  const templates = [grant.value.spiffeId, ...grant.value.dnsNames];
  const named = registeredName(registration, samplePod(namespace, templates), {
    trustDomain: settings?.trustDomain ?? trustDomainIn(grant.value.spiffeId),
    clusterName: settings?.clusterName ?? 'x',
    policy: policy ?? noPolicy,
    serviceNames: () => ({ ok: true, value: [] }),
  });
  if (named.ok) return;
  const message = named.detail.slice(named.detail.indexOf(': ') + 2);
  const field = message.includes('DNS name') ? 'dnsNameTemplates' : 'spiffeIDTemplate';
  // As the API server of a cluster without grants refuses it.
  const mayBeGranted = policy === undefined && message.includes('ClusterRegistrationPolicy');
  const more = mayBeGranted ? ' (if the cluster has one that does, give it with the files)' : '';
  report('error', ['spec', field], `${field} gives a name that is refused: ${message}${more}`);
}

function samplePod(namespace: string, templates: readonly Template[]): NamedPod {
  const valuesOf = (kind: 'label' | 'annotation') =>
    Object.fromEntries(keysIn(templates, kind).map((key) => [key, 'x']));
  const own = { uid: 'x', nodeName: 'x', serviceAccountName: 'x', finished: undefined };
  const facts = { ...own, labels: valuesOf('label'), annotations: valuesOf('annotation') };
  return { namespace, name: 'x', facts, namespaceLabels: {} };
}

/** The trust domain that a template has as text. */
function trustDomainIn([start]: Template): string {
  const written = start?.kind === 'text' ? /^spiffe:\/\/([^/]+)/.exec(start.text)?.[1] : undefined;
  return written ?? 'example.org';
}

/** @param seen where each name, and each selection with its priority, was seen first. */
function checkOthers(
  registration: Registration,
  of: FileObject,
  seen: Map<string, { readonly name: string; readonly where: string }>,
  report: Report,
): void {
  const { kind, namespace, name, selection, priority, isFallback, className } = registration;
  const own = { name: nameOfRegistration(registration), where: `${of.file}:${of.lineOf([])}` };
  const named = JSON.stringify([kind, namespace, name]);
  const selects = selection && JSON.stringify([kind, namespace, selection, priority, isFallback, className]);
  const twin = seen.get(named);
  const rival = selects === undefined ? undefined : seen.get(selects);
  if (twin) report('error', ['metadata', 'name'], `${twin.name} is in ${twin.where} already`);
  else if (rival) {
    report(
      'error',
      ['spec', 'priority'],
      `it selects the same pods as ${rival.name} (${rival.where}) with the same priority, so they get no name (RegistrationAmbiguous); give one of the two a higher priority`,
    );
  }
  for (const key of [named, selects]) if (key !== undefined && !seen.has(key)) seen.set(key, own);
}

/** Settings with which every template can be used: all annotations that it names, and a cluster name. */
function permissive(object: FileObject['object']): TemplateContext {
  const { values } = readFields('ClusterWorkloadRegistration', object.spec);
  const sources = [values.spiffeIDTemplate ?? '', ...(values.dnsNameTemplates ?? [])];
  const templates = sources.map(parseTemplate).flatMap((read) => (read.ok ? [read.value] : []));
  return { clusterName: 'x', podAnnotations: keysIn(templates, 'annotation') };
}

/** The labels or annotations of the pod that templates name. */
function keysIn(templates: readonly Template[], kind: 'label' | 'annotation'): string[] {
  return templates.flat().flatMap((part) => (part.kind === kind ? [part.key] : []));
}
