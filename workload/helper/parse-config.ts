import { KubespiffeError } from '../../spiffe/errors.ts';
import type { HelperConfig, ParseOptions } from './config.ts';
import type { Problem, Tree } from './fields.ts';
import { parseHcl } from './hcl.ts';
import { header, readConfig } from './read-config.ts';
import { readSpiffeHelper } from './spiffe-helper.ts';

/** A configuration, and what in a file of spiffe-helper does not mean the same here. */
export interface Parsed {
  readonly config: HelperConfig;
  readonly differences: readonly string[];
}

/**
 * Reads a configuration file: YAML or JSON with our header, or a file of spiffe-helper, HCL or JSON.
 *
 * @param file its name, for messages.
 * @throws KubespiffeError CONFIG_INVALID with every problem, one a line.
 */
export async function parseConfig(file: string, text: string, options: ParseOptions = {}): Promise<Parsed> {
  const tree = await parseTree(file, text);
  const isOurs = typeof tree === 'string' || 'apiVersion' in tree || 'kind' in tree;
  const { config, problems, differences } = isOurs
    ? { ...readConfig(tree, options), differences: [] }
    : readSpiffeHelper(tree, options);
  if (config && problems.length === 0) return { config, differences };
  throw invalid(file, problems);
}

const invalid = (file: string, problems: readonly Problem[]): KubespiffeError =>
  new KubespiffeError(
    'CONFIG_INVALID',
    problems.map(({ place, message }) => `${file}: ${place} ${message}`).join(';\n'),
    { hint: 'correct the file; docs/guides/helper.md shows what it may contain' },
  );

async function parseTree(file: string, text: string): Promise<Tree> {
  if (/^\s*\{/.test(text) || /^["']?(?:apiVersion|kind)["']?\s*:/m.test(text)) return parseYaml(file, text);
  const read = parseHcl(text);
  if (read.ok) return read.value;
  const yaml = `apiVersion: ${header.apiVersion} and kind: ${header.kind}`;
  const message = `has neither ${yaml}, nor is it a file of spiffe-helper: ${read.reason}`;
  throw invalid(file, [{ place: 'the file', message }]);
}

async function parseYaml(file: string, text: string): Promise<Tree> {
  // Loaded only here: the parser costs some 10 MB of resident memory.
  const { parseDocument } = await import('yaml');
  // In the failsafe schema every scalar is its text. Aliases are not followed: a small file could become a huge tree.
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: false, logLevel: 'error' });
  const [error] = document.errors;
  if (error) throw invalid(file, [{ place: 'the file', message: `is not YAML or JSON: ${error.message}` }]);
  try {
    return (document.toJS({ maxAliasCount: 0 }) ?? '') as Tree;
  } catch {
    throw invalid(file, [{ place: 'the file', message: 'has YAML aliases, which are not used here' }]);
  }
}
