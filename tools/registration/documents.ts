import { type Document, isCollection, LineCounter, parseAllDocuments } from 'yaml';
import { isJsonObject, type JsonObject } from '../../spiffe/json.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import { documentValue, lookInto, nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

/** An object in a file. */
export interface FileObject {
  readonly file: string;
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** As written; undefined where it is not. */
  readonly namespace: string | undefined;
  readonly object: JsonObject;
  /** The line of a field, such as `['spec', 'ttl']`, or of the nearest thing around it. Counts from 1. */
  lineOf(path: readonly (string | number)[]): number;
}

/**
 * Reads the objects in files, YAML or JSON, several documents and Lists included.
 * @throws CliError USAGE for a file that cannot be read, with the line of an error in YAML.
 */
export async function readObjects(terminal: Terminal, files: readonly string[]): Promise<FileObject[]> {
  const objects: FileObject[] = [];
  for (const file of files) {
    const content = textOf(await readInput(terminal, file));
    objects.push(...lookInto(file, () => objectsIn(content, nameOfInput(file))));
  }
  return objects;
}

function objectsIn(content: string, file: string): FileObject[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(content, { lineCounter: lines, logLevel: 'error' });
  const objects = documents.flatMap((document) => {
    const [error] = document.errors;
    if (error) {
      const [first = ''] = error.message.split(/ at line |:\n/);
      throw new CliError(
        'USAGE',
        `line ${error.linePos?.[0].line ?? '?'}: not valid YAML: ${first}`,
        'correct it there or in a line above; often it is the indentation or a missing quote',
      );
    }
    const value = documentValue(document);
    if (value === null || value === undefined) return [];
    const isList = isJsonObject(value) && String(value.kind).endsWith('List') && Array.isArray(value.items);
    const items = isList
      ? (value.items as unknown[]).map((item, at) => ({ item, path: ['items', at] }))
      : [{ item: value, path: [] }];
    return items.map(({ item, path }) =>
      fileObject(item, file, (below) => lineIn(document, lines, [...path, ...below])),
    );
  });
  if (objects.length === 0)
    throw new CliError('USAGE', 'there is no object in it', 'give objects as YAML or JSON');
  return objects;
}

function fileObject(value: unknown, file: string, lineOf: FileObject['lineOf']): FileObject {
  const object = isJsonObject(value) ? value : {};
  const metadata = isJsonObject(object.metadata) ? object.metadata : {};
  const text = (member: unknown) => (typeof member === 'string' ? member : '');
  return {
    file,
    apiVersion: text(object.apiVersion),
    kind: text(object.kind),
    name: text(metadata.name),
    namespace: text(metadata.namespace) || undefined,
    object,
    lineOf,
  };
}

function lineIn(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  for (let length = path.length; length >= 0; length -= 1) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    const offset = (node as { range?: readonly number[] | null } | null | undefined)?.range?.[0];
    if (offset === undefined) continue;
    // A map or list begins on the line below its key. A problem within it is reported there.
    return Math.max(1, lines.linePos(offset).line - (isCollection(node) && length > 0 && !node.flow ? 1 : 0));
  }
  return 1;
}
