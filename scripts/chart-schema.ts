// Writes into manifests/chart/values.schema.json which settings and components there are. A test says when it has to be
// run again: a misspelt value is an error only if the schema knows all others.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type Entry, table } from '../signer/config/table.ts';

const manifests = join(import.meta.dirname, '../manifests');
const file = join(manifests, 'chart/values.schema.json');

type Schema = Readonly<Record<string, unknown>>;

interface Component {
  /** Its folder in manifests/. */
  readonly folder: string;
  /** The settings that it sets, by their variables. */
  readonly variables: Readonly<Record<string, string>>;
}

/** The components of kustomize in manifests/. */
export async function readComponents(): Promise<Component[]> {
  const folders = (await readdir(manifests, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const found = await Promise.all(
    folders.map(async ({ name: folder }) => {
      const text = await readFile(join(manifests, folder, 'kustomization.yaml'), 'utf8').catch(() => '');
      const { kind, configMapGenerator = [] } = parse(text) ?? {};
      const literals: string[] = configMapGenerator.flatMap((map: { literals: string[] }) => map.literals);
      const variables = Object.fromEntries(literals.map((literal) => literal.split('=')));
      return kind === 'Component' ? [{ folder, variables }] : [];
    }),
  );
  return found.flat().toSorted((a, b) => (a.folder < b.folder ? -1 : 1));
}

/** The value that turns a component on: `tokenEndpoint` for the folder token-endpoint. */
export const componentValue = (folder: string): string =>
  folder.replace(/-[a-z]/g, (match) => match.slice(1).toUpperCase());

/** The text of values.schema.json, of which settings and components are made anew. */
export async function chartSchema(): Promise<string> {
  const schema = JSON.parse(await readFile(file, 'utf8')) as {
    properties: Record<string, Schema>;
    allOf: readonly Schema[];
  };
  const components = await readComponents();
  schema.properties.settings = settingsSchema();
  schema.properties.components = closed(
    Object.fromEntries(components.map(({ folder }) => [componentValue(folder), { type: 'boolean' }])),
  );
  schema.allOf = needs(components);
  return `${JSON.stringify(schema, null, 2)}\n`;
}

/** What a setting needs of other ones: without them the signer would not start. */
function needs(components: readonly Component[]): Schema[] {
  /** The values that set it, each by itself. */
  const ways = ({ names, setting: { type } }: Entry): Schema[] => {
    const set = type.words?.includes('true') ? { const: true } : { minLength: 1 };
    return [
      ...names.map(({ path }) => has(['settings', ...path.split('.')], set)).toReversed(),
      ...components
        .filter(({ variables }) => names.some(({ variable }) => variable in variables))
        .map(({ folder }) => has(['components', componentValue(folder)], { const: true })),
    ];
  };
  const any = ([only, ...others]: Schema[]) =>
    others.length === 0 && only ? only : { anyOf: [only, ...others] };
  return table.entries.flatMap((entry) =>
    (entry.setting.needs ?? []).flatMap((path) => {
      const needed = table.byPath.get(path)?.entry;
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      return needed ? [{ if: any(ways(entry)), then: any(ways(needed)) }] : [];
    }),
  );
}

/** An object that has a value at this path. */
const has = ([key = '', ...path]: readonly string[], value: Schema): Schema => ({
  required: [key],
  properties: { [key]: path.length === 0 ? value : has(path, value) },
});

function settingsSchema(): Schema {
  const ofSigner = (signer: string) =>
    closed(
      Object.fromEntries(
        table.entries
          .filter((entry) => entry.signer === signer)
          .map((entry) => [entry.key, valueSchema(entry)]),
      ),
    );
  const atTop = table.entries.filter((entry) => entry.names.some(({ path }) => path === entry.key));
  return {
    ...closed({
      ...Object.fromEntries(atTop.map((entry) => [entry.key, valueSchema(entry)])),
      signers: closed(Object.fromEntries(table.signers.map((signer) => [signer, ofSigner(signer)]))),
    }),
    required: table.entries.filter(({ setting }) => setting.required).map(({ key }) => key),
  };
}

const closed = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  additionalProperties: false,
  properties,
});

function valueSchema({ setting: { description, type } }: Entry): Schema {
  const { words = [], placeholder, schema } = type;
  if (words.includes('true')) return { description, type: 'boolean' };
  // In YAML, 1.3 is a number.
  if (words.length > 0)
    return { description, enum: words.flatMap((word) => (Number(word) ? [word, Number(word)] : [word])) };
  if (schema) return { description, ...schema };
  if (placeholder.endsWith(',…'))
    return { description, type: ['string', 'array'], items: { type: 'string' } };
  return { description, type: 'string' };
}

if (import.meta.main) await writeFile(file, await chartSchema());
