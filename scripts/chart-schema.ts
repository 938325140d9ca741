// Writes into manifests/chart/values.schema.json which settings and components there are. A test says when it has to be
// run again: a misspelt value is an error only if the schema knows all others.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Entry, table } from '../signer/config/table.ts';

const manifests = join(import.meta.dirname, '../manifests');
const file = join(manifests, 'chart/values.schema.json');

type Schema = Readonly<Record<string, unknown>>;

/** The folders of manifests/ that are components of kustomize. */
export async function componentFolders(): Promise<string[]> {
  const folders = (await readdir(manifests, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const found = await Promise.all(
    folders.map(async ({ name }) => {
      const text = await readFile(join(manifests, name, 'kustomization.yaml'), 'utf8').catch(() => '');
      return /^kind: Component$/m.test(text) ? [name] : [];
    }),
  );
  return found.flat().toSorted();
}

/** The value that turns a component on: `tokenEndpoint` for the folder token-endpoint. */
export const componentValue = (folder: string): string =>
  folder.replace(/-[a-z]/g, (match) => match.slice(1).toUpperCase());

/** The text of values.schema.json, of which settings and components are made anew. */
export async function chartSchema(): Promise<string> {
  const schema = JSON.parse(await readFile(file, 'utf8')) as { properties: Record<string, Schema> };
  schema.properties.settings = settingsSchema();
  schema.properties.components = closed(
    Object.fromEntries(
      (await componentFolders()).map((folder) => [componentValue(folder), { type: 'boolean' }]),
    ),
  );
  return `${JSON.stringify(schema, null, 2)}\n`;
}

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
  const { words = [], placeholder } = type;
  if (words.includes('true')) return { description, type: 'boolean' };
  // In YAML, 1.3 is a number.
  if (words.length > 0)
    return { description, enum: words.flatMap((word) => (Number(word) ? [word, Number(word)] : [word])) };
  if (placeholder === 'NUMBER') return { description, type: 'number' };
  if (placeholder.endsWith(',…'))
    return { description, type: ['string', 'array'], items: { type: 'string' } };
  return { description, type: 'string' };
}

if (import.meta.main) await writeFile(file, await chartSchema());
