import { endpointProblem } from '../spiffe/bundle.ts';
import { usageError } from './errors.ts';

/** The URL of an endpoint as a person wrote it. @throws CliError USAGE */
export function endpointUrl(text: string, example: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const problem = url ? endpointProblem(url) : 'this is not a URL';
  if (!url || problem !== undefined) throw usageError(problem ?? '', `give one like ${example}`);
  return url;
}
