import { nearest } from './nearest.ts';
import { settingKeys } from './settings.ts';
import type { Source } from './sources.ts';

/** What a configuration file begins with. */
export const fileHeader = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'SignerConfiguration' } as const;

/**
 * Reads a configuration file: YAML, with the header and settings side by side at the top, as Kubernetes' own
 * component configurations have them. Every mistake is reported with its line.
 */
export async function readConfigFile(path: string, content: string): Promise<Source> {
  // Loaded only where a file is used: the parser costs some 10 MB of resident memory.
  const { isMap, isScalar, LineCounter, parseDocument } = await import('yaml');
  const source: Source = { given: [], mistakes: [] };
  const lines = new LineCounter();
  const document = parseDocument(content, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number | undefined) => `${path}:${lines.linePos(offset ?? 0).line}`;

  for (const error of document.errors)
    source.mistakes.push({ place: at(error.pos[0]), message: error.message });
  if (source.mistakes.length > 0) return source;
  if (!isMap(document.contents)) {
    source.mistakes.push({
      place: at(0),
      message: `must hold settings; begin with apiVersion: ${fileHeader.apiVersion} and kind: ${fileHeader.kind}`,
    });
    return source;
  }

  const header = new Map<string, string>();
  for (const { key, value } of document.contents.items) {
    const name = isScalar(key) ? String(key.value) : '';
    const place = at(isScalar(key) ? key.range?.[0] : undefined);
    const isText = isScalar(value) && value.value !== null && value.value !== '';
    const text = isText ? (value.source ?? String(value.value)) : '';
    const setting = settingKeys.find((candidate) => candidate === name);

    if (Object.hasOwn(fileHeader, name)) header.set(name, text);
    else if (!setting) {
      const guess = nearest(name, settingKeys);
      const hint = guess ? `; did you mean "${guess}"?` : '';
      source.mistakes.push({ place, message: `"${name}" is not a setting${hint}` });
    } else if (!isText) source.mistakes.push({ place, message: `${name} needs one value` });
    else source.given.push({ key: setting, text, place: `${place} ${name}` });
  }
  for (const [name, wanted] of Object.entries(fileHeader)) {
    const found = header.get(name);
    if (found !== wanted) {
      const message = `${name} is ${found ? `"${found}"` : 'missing'}; write ${name}: ${wanted}`;
      source.mistakes.push({ place: path, message });
    }
  }
  return source;
}
