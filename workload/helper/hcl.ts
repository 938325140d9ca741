import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import type { Tree } from './fields.ts';

/** One of: space or comment, string, number or word, punctuation. */
const token = /(\s+|#.*|\/\/.*|\/\*[\s\S]*?\*\/)|"((?:[^"\\\n]|\\.)*)"|([\w.+-]+)|([[\]{}=,])/guy;
const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };
/** Deeper than any configuration, and shallow enough for the stack. */
const deepest = 16;

interface Token {
  readonly kind: 'text' | 'word' | 'mark' | 'end';
  readonly value: string;
  readonly line: number;
}

/**
 * Reads what configuration files of spiffe-helper are written in: HCL 1 with keys, strings, numbers, booleans, lists, objects
 * and comments. Here-documents and interpolation are not read. A block that stands
 * twice is a list, and of other keys the last one counts. Never throws.
 */
export function parseHcl(source: string): Result<Tree> {
  const tokens = tokenize(source);
  if (!tokens.ok) return tokens;
  let at = 0;
  const end: Token = { kind: 'end', value: 'the end of the file', line: source.split('\n').length };
  const peek = () => tokens.value[at] ?? end;
  const next = () => tokens.value[at++] ?? end;
  const is = ({ kind, value }: Token, mark: string) => kind === 'mark' && value === mark;
  const unexpected = ({ value, line }: Token, wanted: string): never => {
    throw new SyntaxError(`line ${line}: ${wanted} is expected, not ${JSON.stringify(value.slice(0, 40))}`);
  };

  const readObject = (isLast: (one: Token) => boolean, depth: number): Tree => {
    const members = new Map<string, Tree>();
    for (;;) {
      const key = next();
      if (isLast(key)) return Object.fromEntries(members);
      if (is(key, ',')) continue;
      if (key.kind !== 'word' && key.kind !== 'text') unexpected(key, 'a key');
      // A block, such as `health_checks { … }`, has no "=".
      const mark = peek();
      if (!is(mark, '{') && !is(next(), '=')) unexpected(mark, `"=" after ${key.value}`);
      const value = readValue(depth);
      const earlier = members.get(key.value);
      const areBlocks = typeof earlier === 'object' && typeof value === 'object';
      members.set(key.value, areBlocks ? ([earlier, value].flat() as Tree) : value);
    }
  };
  const readList = (depth: number): Tree => {
    const items: Tree[] = [];
    while (!is(peek(), ']')) {
      items.push(readValue(depth));
      if (is(peek(), ',')) next();
      else if (!is(peek(), ']')) unexpected(peek(), '"," or "]"');
    }
    next();
    return items;
  };
  const readValue = (depth: number): Tree => {
    const first = next();
    if (depth > deepest) return unexpected(first, 'less depth');
    if (first.kind === 'text' || first.kind === 'word') return first.value;
    if (is(first, '[')) return readList(depth + 1);
    if (is(first, '{')) return readObject((one) => is(one, '}'), depth + 1);
    return unexpected(first, 'a value');
  };
  try {
    return success(readObject(({ kind }) => kind === 'end', 0));
  } catch (error) {
    if (error instanceof SyntaxError) return failure(error.message);
    throw error;
  }
}

function tokenize(source: string): Result<Token[]> {
  const tokens: Token[] = [];
  let line = 1;
  let end = 0;
  for (const { 0: all, 1: space = '', 2: text, 3: word, 4: mark } of source.matchAll(token)) {
    end += all.length;
    if (text !== undefined) {
      const value = text.replaceAll(/\\(.)/gu, (whole, letter: string) => escapes[letter] ?? whole);
      tokens.push({ kind: 'text', value, line });
    } else if (word !== undefined) tokens.push({ kind: 'word', value: word, line });
    else if (mark !== undefined) tokens.push({ kind: 'mark', value: mark, line });
    line += space.split('\n').length - 1;
  }
  return end === source.length ? success(tokens) : failure(`line ${line}: it cannot be read`);
}
