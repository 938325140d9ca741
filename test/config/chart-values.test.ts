import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import fastify from 'fastify';
import { chartSchema, componentValue, readComponents } from '../../scripts/chart-schema.ts';
import { formatProblems, loadConfig } from '../../signer/config/load.ts';
import { type Names, table } from '../../signer/config/table.ts';
import { examplesOf } from './examples.ts';

const components = await readComponents();

/** A setting or a component in the values of the chart. */
type Value = { path: readonly string[]; value: unknown; variables: Readonly<Record<string, string>> };

const entries = table.entries.filter(({ setting }) => !setting.required);
const ofSettings = entries.flatMap((entry) =>
  entry.names.map(({ path }: Names) =>
    examplesOf(entry).map(
      (value): Value => ({
        path: ['settings', ...path.split('.')],
        value,
        variables: { [entry.names.at(-1)?.variable ?? '']: String(value) },
      }),
    ),
  ),
);
const ofComponents = components.map(({ folder, variables }): readonly Value[] => [
  { path: ['components', componentValue(folder)], value: true, variables },
]);

let fitsSchema: (values: object) => Promise<boolean>;
before(async () => {
  const { $schema: _, ...schema } = JSON.parse(await chartSchema());
  const ajv = { customOptions: { coerceTypes: false, removeAdditional: false, strict: false } } as const;
  const app = fastify({ ajv });
  app.post('/', { schema: { body: schema } }, async () => '');
  fitsSchema = async (payload) => {
    const { statusCode } = await app.inject({ method: 'POST', url: '/', payload });
    assert.ok([200, 400].includes(statusCode), `status ${statusCode}`);
    return statusCode === 200;
  };
});

/** What the signer has to say about these values, which becomes nothing where it starts. */
async function problemsOf(values: readonly Value[]): Promise<string> {
  const env = Object.assign(
    { KUBESPIFFE_TRUST_DOMAIN: 'example.org' },
    ...values.map(({ variables }) => variables),
  );
  const readFile = () => Promise.reject(new Error('no file'));
  const loaded = await loadConfig({ argv: [], env, readFile });
  return loaded.kind === 'problems' ? formatProblems(loaded.problems) : '';
}

function chartValues(values: readonly Value[]): object {
  const all = { settings: { trustDomain: 'example.org' } };
  for (const { path, value } of values) {
    let at: Record<string, unknown> = all;
    for (const key of path.slice(0, -1)) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    at[path.at(-1) ?? ''] = value;
  }
  return all;
}

async function compare(values: readonly Value[]): Promise<void> {
  const problems = await problemsOf(values);
  const written = chartValues(values);
  assert.equal(await fitsSchema(written), problems === '', `${JSON.stringify(written)}: ${problems}`);
}

test('the schema of the chart refuses the settings and components with which the signer does not start', async () => {
  const all = [...ofSettings, ...ofComponents];
  for (const value of all.flat()) await compare([value]);
  // Each setting once, by one of its names.
  const some = fc.uniqueArray(fc.constantFrom(...all), {
    maxLength: 6,
    selector: ([one]) => Object.keys(one?.variables ?? {})[0] ?? one,
  });
  const values = some.chain((chosen) => fc.tuple(...chosen.map((examples) => fc.constantFrom(...examples))));
  await fc.assert(fc.asyncProperty(values, compare), { numRuns: 500 });
});

test('the schema of the chart refuses only values that the signer refuses', async () => {
  const entry = fc.constantFrom(...entries);
  const value = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double(),
    fc.constantFrom('1h', '90x', ':1', 'https://a'),
  );
  await fc.assert(
    fc.asyncProperty(entry, value, async ({ names, setting: { type } }, value) => {
      const [{ path, variable }] = names;
      const isNumber = type.placeholder === 'NUMBER';
      fc.pre(value !== '' && isNumber === (typeof value === 'number') && !type.words);
      const written = {
        path: ['settings', ...path.split('.')],
        value,
        variables: { [variable]: String(value) },
      };
      if (!(await fitsSchema(chartValues([written])))) {
        assert.notEqual(await problemsOf([written]), '', `${path}: ${value}`);
      }
    }),
    { numRuns: 500 },
  );
});

for (const [key, values] of Object.entries({
  trustDomain: ['Example.org', 'spiffe://example.org'],
  maxLifetime: ['12hours', '1', 'a day'],
  concurrency: [0, 81, 1.5],
  tracesRatio: [-1, 1.1],
  tokenAddress: ['8443', 'localhost'],
  jwtIssuer: ['http://id.example.org', 'https://id.example.org/'],
})) {
  test(`the schema of the chart refuses a wrong ${key}`, async () => {
    for (const value of values) {
      const settings = { trustDomain: 'example.org', jwtIssuer: 'https://id.example.org', [key]: value };
      assert.equal(await fitsSchema({ settings }), false, String(value));
    }
  });
}
