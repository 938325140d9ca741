import { isDnsName } from '../../spiffe/dns-name.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { shown } from '../../spiffe/json.ts';
import { failure, type Result } from '../../spiffe/pki/result.ts';
import type { Terms } from './identify.ts';
import type { RegistrationFields } from './registration-fields.ts';
import { parseTemplate, type Template, writtenPart } from './template.ts';

/** What a registration gives to its pods. */
export interface RegistrationGrant {
  readonly spiffeId: Template;
  readonly dnsNames: readonly Template[];
  readonly autoPopulateDNSNames: boolean;
  readonly terms: Omit<Terms, 'registration'>;
}

/** A grant, or why there is none. */
export type ReadGrant =
  | { readonly ok: true; readonly value: RegistrationGrant }
  | { readonly ok: false; readonly reason: 'TemplateInvalid' | 'SpecInvalid'; readonly message: string };

/** What templates may use, from the settings. */
export interface TemplateContext {
  readonly clusterName: string | undefined;
  /** Keys of the annotations of pods that are kept. */
  readonly podAnnotations: readonly string[];
}

/** @param problems of the fields of the spec. Never throws. */
export function readGrant(
  values: RegistrationFields,
  problems: ReadonlyMap<string, string>,
  context: TemplateContext,
): ReadGrant {
  const [problem] = problems;
  if (problem) return { ok: false, reason: 'SpecInvalid', message: problem.join(' ') };
  const spiffeId = readSpiffeIdTemplate(values.spiffeIDTemplate, context);
  if (!spiffeId.ok) {
    return { ok: false, reason: 'TemplateInvalid', message: `spiffeIDTemplate ${spiffeId.reason}` };
  }
  const dnsNames: Template[] = [];
  for (const source of values.dnsNameTemplates ?? []) {
    const read = readDnsNameTemplate(source, context);
    if (!read.ok) {
      const message = `dnsNameTemplates has ${shown(source)}, which ${read.reason}`;
      return { ok: false, reason: 'TemplateInvalid', message };
    }
    dnsNames.push(read.value);
  }
  return {
    ok: true,
    value: {
      spiffeId: spiffeId.value,
      dnsNames,
      autoPopulateDNSNames: values.autoPopulateDNSNames ?? false,
      terms: termsOf(values),
    },
  };
}

function termsOf({ ttl, jwtTTL, audiences, hint, federatesWith }: RegistrationFields) {
  return {
    ...(ttl !== undefined && { maxLifetimeSeconds: ttl }),
    ...(jwtTTL !== undefined && { maxTokenLifetimeSeconds: jwtTTL }),
    ...(audiences && { audiences }),
    ...(hint !== undefined && { hint }),
    ...(federatesWith && { federatesWith }),
  };
}

/** What is wrong with any value is wrong with each pod, so it is found here. */
function readSpiffeIdTemplate(source: string | undefined, context: TemplateContext): Result<Template> {
  if (source === undefined) return failure('is missing');
  const template = readTemplate(source, context);
  if (!template.ok) return template;
  const id = parseSpiffeId(sampleOf(template.value));
  if (!id.ok) return failure(`does not make a SPIFFE ID: ${id.reason}`);
  if (id.value.path === '') return failure('makes the SPIFFE ID of the trust domain itself; add a path');
  const [start, trustDomain] = template.value;
  const isConfigured = trustDomain?.kind === 'field' && trustDomain.field === '.TrustDomain';
  const isLiteral = start?.kind === 'text' && /^spiffe:\/\/[^/]+\//.test(start.text);
  const isWhole = template.value[2]?.kind === 'text' && template.value[2].text.startsWith('/');
  if (isLiteral || (start?.kind === 'text' && start.text === 'spiffe://' && isConfigured && isWhole))
    return template;
  return failure('does not begin with "spiffe://{{ .TrustDomain }}/"');
}

function readDnsNameTemplate(source: string, context: TemplateContext): Result<Template> {
  const template = readTemplate(source, context);
  if (!template.ok) return template;
  return isDnsName(sampleOf(template.value)) ? template : failure('does not make a DNS name in lower case');
}

/** A template with the shortest of all values. */
const sampleOf = (template: Template) =>
  template.map((part) => (part.kind === 'text' ? part.text : 'x')).join('');

function readTemplate(source: string, { clusterName, podAnnotations }: TemplateContext): Result<Template> {
  const template = parseTemplate(source);
  for (const part of template.ok ? template.value : []) {
    const written = writtenPart(part);
    if (part.kind === 'annotation' && !podAnnotations.includes(part.key)) {
      return failure(`has ${written}, and the setting podAnnotations does not name ${part.key}`);
    }
    if (part.kind === 'field' && part.field === '.ClusterName' && clusterName === undefined) {
      return failure(`has ${written}, and the setting clusterName is not set`);
    }
  }
  return template;
}
