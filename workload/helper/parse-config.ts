import { KubespiffeError } from '../../spiffe/errors.ts';
import type { HelperConfig } from './config.ts';
import type { Mistake, Tree } from './fields.ts';
import { readConfig } from './read-config.ts';

/**
 * Reads a configuration file, YAML or JSON.
 *
 * @param file its name, for messages.
 * @throws KubespiffeError CONFIG_INVALID with every mistake, one a line.
 */
export async function parseConfig(file: string, text: string): Promise<HelperConfig> {
  const { config, mistakes } = readConfig(await parseYaml(file, text));
  if (config && mistakes.length === 0) return config;
  throw invalid(file, mistakes);
}

const invalid = (file: string, mistakes: readonly Mistake[]): KubespiffeError =>
  new KubespiffeError(
    'CONFIG_INVALID',
    mistakes.map(({ place, message }) => `${file}: ${place} ${message}`).join('\n'),
  );

async function parseYaml(file: string, text: string): Promise<Tree> {
  // Loaded only here: the parser costs some 10 MB of resident memory.
  const { parseDocument } = await import('yaml');
  // In the failsafe schema every scalar is its text. Aliases are not followed: a small file could become a huge tree.
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: false });
  const [error] = document.errors;
  if (error) throw invalid(file, [{ place: 'the file', message: `is not YAML or JSON: ${error.message}` }]);
  try {
    return (document.toJS({ maxAliasCount: 0 }) ?? '') as Tree;
  } catch {
    throw invalid(file, [{ place: 'the file', message: 'has YAML aliases, which are not used here' }]);
  }
}
