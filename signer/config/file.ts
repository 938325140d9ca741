import type { YAMLMap } from 'yaml';
import { nearest } from '../../spiffe/nearest.ts';
import type { Source } from './sources.ts';
import type { Table } from './table.ts';

/** What a configuration file begins with. */
export const fileHeader = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'SignerConfiguration' } as const;

/**
 * Reads a configuration file: YAML with the header, the shared settings at the top, as in the component configurations
 * of Kubernetes, and a section for each signer below `signers`. Every problem is reported with its line.
 */
export async function readConfigFile(path: string, content: string, table: Table): Promise<Source> {
  // Loaded only where a file is used: the parser costs some 10 MB of resident memory.
  const { isMap, isScalar, LineCounter, parseDocument } = await import('yaml');
  const source: Source = { given: [], problems: [] };
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  const refuse = (place: string, message: string) => source.problems.push({ place, message });
  const at = (offset: number | undefined) => `${path}:${lines.linePos(offset ?? 0).line}`;

  for (const { pos, message } of document.errors) refuse(at(pos[0]), message);
  if (source.problems.length > 0) return source;
  if (!isMap(document.contents)) {
    const { apiVersion, kind } = fileHeader;
    refuse(at(0), `must hold settings; begin with apiVersion: ${apiVersion} and kind: ${kind}`);
    return source;
  }

  const sections = ['signers', ...table.signers.map((signer) => `signers.${signer}`)];
  const header = new Map<string, string>();

  /** @param above path of the section with a dot at its end, or empty for the top. */
  function read({ items }: YAMLMap, above: string): void {
    for (const { key, value } of items) {
      const word = isScalar(key) ? String(key.value) : '';
      const name = `${above}${word}`;
      const place = at(isScalar(key) ? key.range?.[0] : undefined);
      const isText = isScalar(value) && value.value !== null && value.value !== '';
      const text = isText ? (value.source ?? String(value.value)) : '';
      const named = word.includes('.') ? undefined : table.byPath.get(name);

      if (above === '' && Object.hasOwn(fileHeader, name)) header.set(name, text);
      else if (sections.includes(name)) {
        if (isMap(value)) read(value, `${name}.`);
        else refuse(place, `${name} needs keys and values below it`);
      } else if (!named) {
        const guess = nearest(
          name,
          [...table.byPath.keys(), ...sections].filter((one) => one.startsWith(above)),
        );
        const hint = guess ? `; did you mean "${guess}"?` : '';
        const problem =
          above === 'signers.'
            ? `is not a signer; there are ${table.signers.join(', ')}`
            : 'is not a setting';
        refuse(place, `"${name}" ${problem}${hint}`);
      } else if (!isText) refuse(place, `${name} needs one value`);
      else source.given.push({ ...named, text, place: `${place} ${name}` });
    }
  }
  read(document.contents, '');
  for (const [name, wanted] of Object.entries(fileHeader)) {
    const found = header.get(name);
    if (found === wanted) continue;
    refuse(path, `${name} is ${found ? `"${found}"` : 'missing'}; write ${name}: ${wanted}`);
  }
  return source;
}
