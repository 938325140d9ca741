// Writes docs/reference/crds.md from the CRDs in manifests/crds. A test says when it has to be run again.
import { readFile, writeFile } from 'node:fs/promises';
import { parse } from 'yaml';

const root = new URL('../', import.meta.url);
const kinds = [
  'workloadregistrations',
  'clusterworkloadregistrations',
  'clusterregistrationpolicies',
  'federatedtrustdomains',
];

/** What is read of a CustomResourceDefinition. */
interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: 'Cluster' | 'Namespaced';
    readonly names: {
      readonly kind: string;
      readonly plural: string;
      readonly shortNames: readonly string[];
    };
    readonly versions: readonly [
      {
        readonly name: string;
        readonly schema: { readonly openAPIV3Schema: Schema };
      },
    ];
  };
}

/** A structural schema. */
interface Schema {
  readonly type: string;
  readonly format?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly minItems?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly 'x-kubernetes-validations'?: readonly { readonly message: string }[];
}

const heading = `# Custom resources

<!-- Written by scripts/crd-reference.ts from manifests/crds: do not edit. -->

All are of \`kubespiffe.io/v1alpha1\`. The guides explain how to use them: [registrations](../guides/registrations.md), [federation](../guides/federation.md). The API server
refuses an object that breaks a rule below; the signer checks every object again, since an object may be older than a rule.
`;

/** The text of docs/reference/crds.md. */
export async function crdReference(): Promise<string> {
  const sections = await Promise.all(
    kinds.map(async (name) => {
      const text = await readFile(new URL(`manifests/crds/${name}.yaml`, root), 'utf8');
      return section(parse(text) as Definition);
    }),
  );
  return [heading, ...sections].join('\n');
}

function section({ spec: { scope, names, versions } }: Definition): string {
  const [{ schema }] = versions;
  const { description = '', properties = {}, required = [] } = schema.openAPIV3Schema;
  const place = scope === 'Cluster' ? 'It belongs to the cluster' : 'It belongs to a namespace';
  const rows = ['spec', 'status'].flatMap((part) => {
    const found = properties[part];
    return found ? rowsOf(part, found, required.includes(part)) : [];
  });
  return [
    `## ${names.kind}\n`,
    `${description} ${place}; \`kubectl get ${names.shortNames[0]}\` lists it.${rulesOf(schema.openAPIV3Schema)}\n`,
    '| field | value | meaning |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** The rows of a field and of those in it. */
function rowsOf(path: string, schema: Schema, isRequired: boolean): string[] {
  const inner = schema.items ?? schema;
  const innerPath = schema.items ? `${path}[]` : path;
  const value = [typeOf(schema), ...limitsOf(schema), ...(isRequired ? ['**required**'] : [])].join(', ');
  const meaning = `${schema.description ?? inner.description ?? ''}${rulesOf(schema)}${schema.items ? rulesOf(inner) : ''}`;
  return [
    `| \`${path}\` | ${cell(value)} | ${cell(meaning.trim())} |`,
    ...Object.entries(inner.properties ?? {}).flatMap(([name, property]) =>
      rowsOf(`${innerPath}.${name}`, property, inner.required?.includes(name) ?? false),
    ),
  ];
}

function typeOf({ type, items, additionalProperties }: Schema): string {
  if (items) return items.type === 'object' ? 'list' : `list of ${items.type}s`;
  return additionalProperties ? `map of ${additionalProperties.type}s` : type;
}

function limitsOf(schema: Schema): string[] {
  const { items = schema } = schema;
  return [
    ...(items.enum ? [items.enum.map((value) => `\`${value}\``).join(', ')] : []),
    ...(schema.default === undefined ? [] : [`default \`${schema.default}\``]),
    ...(schema.minItems === undefined ? [] : [`at least ${schema.minItems}`]),
    ...(schema.maxItems === undefined ? [] : [`at most ${schema.maxItems}`]),
    ...(items.maxLength === undefined ? [] : [`at most ${items.maxLength} characters`]),
  ];
}

function rulesOf(schema: Schema): string {
  const rules = schema['x-kubernetes-validations'] ?? [];
  return rules.map(({ message }) => ` Rule: ${message}.`).join('');
}

/** In a table, a bar ends a cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

if (import.meta.main) await writeFile(new URL('docs/reference/crds.md', root), await crdReference());
