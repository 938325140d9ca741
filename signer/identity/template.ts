import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { isLabelKey, type Labels } from '../kube/label-selector.ts';

/** What a template may name of the pod and of the configuration, as Go's text/template writes it. */
const fields = [
  '.TrustDomain',
  '.ClusterName',
  '.PodMeta.Name',
  '.PodMeta.Namespace',
  '.PodMeta.UID',
  '.PodSpec.ServiceAccountName',
  '.PodSpec.NodeName',
] as const;
export type TemplateField = (typeof fields)[number];

const maps = { '.PodMeta.Labels': 'label', '.PodMeta.Annotations': 'annotation' } as const;
type MapField = keyof typeof maps;

/** One part of a template: text, the value of a field, or the value of one label or annotation. */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'field'; readonly field: TemplateField }
  | { readonly kind: 'label' | 'annotation'; readonly key: string };

/** A template that was read. Neighbouring texts are one part. */
export type Template = readonly TemplatePart[];

/** What a template is rendered with. */
export type TemplateValues = Readonly<Record<TemplateField, string | undefined>> & {
  readonly labels: Labels | undefined;
  readonly annotations: Labels | undefined;
};

/** Longest template, in characters. */
const maxLength = 4096;

/**
 * Reads a template: the subset of Go's text/template that puts values into text, `{{ .PodMeta.Namespace }}` and
 * `{{ index .PodMeta.Labels "app" }}`. Everything else of the language is refused by its name. Never throws.
 */
export function parseTemplate(source: string): Result<Template> {
  if (source.length > maxLength)
    return failure(`has ${source.length} characters; at most ${maxLength} are allowed`);
  const parts: TemplatePart[] = [];
  let at = 0;
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    const text = source.slice(at, open < 0 ? undefined : open);
    if (text.includes('}}')) return failure('has "}}" without "{{" before it');
    if (text !== '') parts.push({ kind: 'text', text });
    if (open < 0) break;
    const close = endOfAction(source, open + 2);
    if (close === undefined) return failure('has "{{" without "}}" after it');
    const written = source.slice(open + 2, close);
    const part = parseAction(written);
    if (!part.ok) return failure(`has {{${written.slice(0, 60)}}}, ${part.reason}`);
    parts.push(part.value);
    at = close + 2;
  }
  return success(parts);
}

/** Where the `}}` of an action is; one in a quoted key does not end it. */
function endOfAction(source: string, start: number): number | undefined {
  let quote: string | undefined;
  for (let at = start; at < source.length; at += 1) {
    const character = source[at];
    if (quote !== undefined) {
      if (character === quote) quote = undefined;
    } else if (character === '"' || character === '`') quote = character;
    else if (source.startsWith('}}', at)) return at;
    else if (source.startsWith('{{', at)) return undefined;
  }
  return undefined;
}

/** Everything of Go's language that people may try, and why it is refused. The first that fits counts. */
const refused: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^-|-$/, 'which trims text; remove the "-"'],
  [/^\/\*/, 'which is a comment; comments are not supported'],
  [/\|/, 'which is a pipeline; pipelines are not supported'],
  [/^(if|else|end|with)\b/, 'which is a condition; conditions are not supported'],
  [/^(range|break|continue)\b/, 'which is a loop; loops are not supported'],
  [/^(define|template|block)\b/, 'which names another template; that is not supported'],
  [/\$|:=/, 'which uses a variable; variables are not supported'],
  [/[()]/, 'which has parentheses; expressions are not supported'],
  [/^(["'`\d+]|true\b|false\b|nil\b)/, 'which is a constant; write it as text outside of the braces'],
  [/^index\b/, 'where index must have the form {{ index .PodMeta.Labels "app" }}'],
  [/^[\p{L}_]/u, 'which calls a function; the only one that is supported is index'],
];

const indexed = /^index\s+(\.[\w.]+)\s+(?:"([^"\\\n]*)"|`([^`]*)`)$/;

function parseAction(written: string): Result<TemplatePart> {
  const action = written.trim();
  if (action === '') return failure('which is empty');
  const field = fields.find((each) => each === action);
  if (field) return success({ kind: 'field', field });
  const [, map, quoted, raw] = indexed.exec(action) ?? [];
  if (map !== undefined) return parseKey(map, quoted ?? raw ?? '');
  for (const [pattern, reason] of refused) if (pattern.test(action)) return failure(reason);
  // A key that is an identifier may follow its map after a dot.
  const [, ofMap = '', key = ''] = /^(\.PodMeta\.(?:Labels|Annotations))\.(\w+)$/.exec(action) ?? [];
  if (ofMap !== '') return parseKey(ofMap, key);
  if (Object.hasOwn(maps, action)) return failure(`which is many values; write {{ index ${action} "KEY" }}`);
  if (/\s/.test(action)) return failure('which has more than one field');
  return failure(
    `which is not known; known are ${fields.join(', ')}, and index with ${Object.keys(maps).join(' or ')}`,
  );
}

function parseKey(map: string, key: string): Result<TemplatePart> {
  if (!Object.hasOwn(maps, map)) return failure(`where index needs ${Object.keys(maps).join(' or ')}`);
  const kind = maps[map as MapField];
  if (!isLabelKey(key)) return failure(`where ${JSON.stringify(key)} cannot be the key of a ${kind}`);
  return success({ kind, key });
}

/** How a part is written in a template, for messages. */
export function writtenPart(part: TemplatePart): string {
  switch (part.kind) {
    case 'text':
      return part.text;
    case 'field':
      return `{{ ${part.field} }}`;
    case 'label':
      return `{{ index .PodMeta.Labels "${part.key}" }}`;
    case 'annotation':
      return `{{ index .PodMeta.Annotations "${part.key}" }}`;
  }
}

/**
 * The text of a template with its values. Each value must exist, and can never add a part to the name: a label
 * `a/ns/other` would be another path. Never throws.
 *
 * @param separator what separates the parts of the name: `/` in a SPIFFE ID, `.` in a DNS name.
 */
export function renderTemplate(
  template: Template,
  values: TemplateValues,
  separator: '/' | '.',
): Result<string> {
  let rendered = '';
  for (const part of template) {
    if (part.kind === 'text') {
      rendered += part.text;
      continue;
    }
    const value = valueFor(part, values);
    const name = part.kind === 'field' ? part.field : `${part.kind} ${part.key}`;
    if (value === undefined) return failure(missing(part, name));
    if (value === '') return failure(`the ${name} is empty`);
    if (value.includes(separator) && !isConfigured(part)) {
      return failure(
        `the ${name} is ${JSON.stringify(value.slice(0, 100))}, and no value may contain "${separator}"`,
      );
    }
    rendered += value;
  }
  return success(rendered);
}

function valueFor(part: Exclude<TemplatePart, { kind: 'text' }>, values: TemplateValues): string | undefined {
  if (part.kind === 'field') return values[part.field];
  const map = (part.kind === 'label' ? values.labels : values.annotations) ?? {};
  // A label may be named like a member of every object, such as `constructor`.
  return Object.hasOwn(map, part.key) ? map[part.key] : undefined;
}

function missing(part: TemplatePart, name: string): string {
  return part.kind === 'field' ? `${name} has no value` : `the pod has no ${name}`;
}

/** Values that the administrator of the signer has set. */
function isConfigured(part: TemplatePart): boolean {
  return part.kind === 'field' && (part.field === '.TrustDomain' || part.field === '.ClusterName');
}
