import { createByteBuffer } from '../../client/byte-buffer.ts';

/** The members of an object to read; `true` for a whole value. For an array it applies to each element. */
export type Fields = true | { readonly [name: string]: Fields };

/** Reads JSON that comes in chunks. */
export interface JsonReader {
  /** @throws Error when it is not JSON. The message does not quote the text, which may be a Secret. */
  push(chunk: Buffer, start?: number, end?: number): void;
  /** The value, once it is complete; the next one may follow. @throws Error when it is not JSON, or incomplete. */
  end(): unknown;
}

/** Objects that are passed on one by one and are not part of the value: the elements of the member `items`. */
export interface Items {
  readonly fields: Fields;
  readonly take: (item: unknown) => void;
}

interface Level {
  readonly fields: Exclude<Fields, true>;
  readonly isArray: boolean;
  readonly areItems: boolean;
  /** Whether nothing of it was kept so far. */
  isEmpty: boolean;
}

/** What comes next. `passing`: the rest of a value that is kept whole, or left out. */
type State =
  | 'value'
  | 'element or end'
  | 'key or end'
  | 'key'
  | 'in key'
  | 'colon'
  | 'comma or end'
  | 'passing'
  | 'done';

const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket, comma, colon] = Buffer.from(
  '"\\{}[],:',
) as unknown as number[];
const isSpace = (byte: number | undefined) =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/**
 * Reads only the members in `fields` from JSON and skips the rest as it arrives. So memory depends on what is kept of the
 * largest object, not on the length of a list or on what authors put into other members. Skipped text is not checked;
 * kept text is parsed by JSON.parse.
 */
export function createJsonReader(fields: Fields, items?: Items): JsonReader {
  const kept = createByteBuffer();
  /** The part of the member's name that was read so far. */
  let name = '';
  let levels: Level[] = [];
  let state: State = 'value';
  /** The members to read of the next value. */
  let wanted: Fields | undefined = fields;
  let itemStart = 0;
  /** For the value that is skipped, or for the key. */
  let depth = 0;
  let isInString = false;
  let isEscaped = false;
  let hasEscapes = false;

  /** Passes on the part of the current value that is in the chunk. @returns where the value, or the chunk, ends. */
  function pass(chunk: Buffer, start: number, end: number): number {
    let at = start;
    let level = depth;
    let isOver = false;
    while (at < end && !isOver) {
      if (isInString) {
        at = passString(chunk, at, end);
        isOver = level === 0 && !isInString;
        continue;
      }
      const byte = chunk[at];
      if (byte === quote) {
        isInString = true;
        at += 1;
      } else if (byte === openBrace || byte === openBracket) {
        level += 1;
        at += 1;
      } else if (byte === closeBrace || byte === closeBracket) {
        if (level > 0) {
          level -= 1;
          at += 1;
        }
        isOver = level === 0;
      } else if (level === 0 && (byte === comma || isSpace(byte))) isOver = true;
      else at += 1;
    }
    depth = level;
    if (wanted !== undefined) kept.append(chunk, start, at);
    if (isOver) valueEnded();
    return at;
  }

  /** Passes the rest of a string. @returns where it ends, or the chunk. */
  function passString(chunk: Buffer, start: number, end: number): number {
    let at = start;
    if (isEscaped) {
      isEscaped = false;
      at += 1;
    }
    // Most strings are short, and a search in the engine costs more than a few steps here.
    const near = Math.min(end, at + 48);
    while (at < near && chunk[at] !== quote && chunk[at] !== backslash) at += 1;
    if (at === near) at = nextQuoteOrBackslash(chunk, at, end);
    if (at >= end) return end;
    if (chunk[at] === backslash) isEscaped = true;
    else isInString = false;
    return at + 1;
  }

  function beginValue(byte: number | undefined): boolean {
    const level = levels.at(-1);
    if (level?.isArray && !level.areItems) separate(level);
    if (level?.areItems) itemStart = kept.length;
    const isArray = byte === openBracket;
    if (typeof wanted === 'object' && (byte === openBrace || (isArray && !level?.isArray))) {
      const areItems = isArray && items !== undefined && levels.length === 1 && name === 'items';
      levels.push({ fields: wanted, isArray, areItems, isEmpty: true });
      kept.appendByte(byte as number);
      state = isArray ? 'element or end' : 'key or end';
      return true;
    }
    state = 'passing';
    depth = 0;
    isInString = false;
    isEscaped = false;
    return false;
  }

  function separate(level: Level): void {
    if (!level.isEmpty) kept.appendByte(comma as number);
    level.isEmpty = false;
  }

  function valueEnded(): void {
    const level = levels.at(-1);
    state = level === undefined ? 'done' : 'comma or end';
    if (!level?.areItems || items === undefined) return;
    const item = parse(kept.text(itemStart));
    kept.truncate(itemStart);
    items.take(item);
  }

  function keyEnded(): void {
    const level = levels.at(-1) as Level;
    wanted = !hasEscapes && Object.hasOwn(level.fields, name) ? level.fields[name] : undefined;
    state = 'colon';
    if (wanted === undefined) return;
    separate(level);
    kept.appendLatin1(`"${name}":`);
  }

  function closeLevel(byte: number | undefined): void {
    const level = levels.pop();
    if (level === undefined || byte !== (level.isArray ? closeBracket : closeBrace)) throw notJson();
    kept.appendByte(byte as number);
    valueEnded();
  }

  function readKey(chunk: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const byte = chunk[at];
      if (isEscaped) isEscaped = false;
      else if (byte === quote) break;
      else if (byte === backslash) {
        isEscaped = true;
        hasEscapes = true;
      }
      at += 1;
    }
    // No member that is read has a longer name.
    if (name.length <= maxNameLength) {
      name += chunk.toString('latin1', start, Math.min(at, start + maxNameLength + 1));
    }
    if (at === end) return end;
    keyEnded();
    return at + 1;
  }

  /** Takes a byte between the values. @returns whether it was consumed. */
  function takeMark(byte: number | undefined): boolean {
    if (isSpace(byte)) return true;
    const level = levels.at(-1);
    switch (state) {
      case 'element or end':
        if (byte === closeBracket) {
          closeLevel(byte);
          return true;
        }
        wanted = level?.areItems ? items?.fields : level?.fields;
        return beginValue(byte);
      case 'value':
        return beginValue(byte);
      case 'key or end':
      case 'key':
        if (byte === closeBrace && state === 'key or end') closeLevel(byte);
        else if (byte === quote) {
          name = '';
          isEscaped = false;
          hasEscapes = false;
          state = 'in key';
        } else throw notJson();
        return true;
      case 'colon':
        if (byte !== colon) throw notJson();
        state = 'value';
        return true;
      case 'comma or end':
        if (byte !== comma) closeLevel(byte);
        else if (level?.isArray) {
          wanted = level.areItems ? items?.fields : level.fields;
          state = 'value';
        } else state = 'key';
        return true;
      default:
        throw notJson();
    }
  }

  return {
    push(chunk, start = 0, end = chunk.length) {
      let at = start;
      while (at < end) {
        if (state === 'passing') at = pass(chunk, at, end);
        else if (state === 'in key') at = readKey(chunk, at, end);
        else if (takeMark(chunk[at])) at += 1;
      }
    },
    end() {
      // A number, true, false or null ends only at the next character.
      if (state === 'passing' && levels.length === 0 && depth === 0 && !isInString) state = 'done';
      const isWhole = state === 'done';
      levels = [];
      state = 'value';
      wanted = fields;
      try {
        if (!isWhole) throw notJson();
        return parse(kept.text());
      } finally {
        kept.truncate(0);
      }
    },
  };
}

/** What a reader of these fields gives of a whole value. For text that is short, JSON.parse and this are faster. */
export function pickFields(value: unknown, fields: Fields, isElement = false): unknown {
  if (fields === true || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return isElement ? value : value.map((each) => pickFields(each, fields, true));
  const picked: [string, unknown][] = [];
  for (const name of Object.keys(fields)) {
    if (!Object.hasOwn(value, name)) continue;
    picked.push([name, pickFields((value as Record<string, unknown>)[name], fields[name] as Fields)]);
  }
  return Object.fromEntries(picked);
}

const maxNameLength = 64;

/** The position of whichever comes first; the end if neither does. */
function nextQuoteOrBackslash(chunk: Buffer, start: number, end: number): number {
  const found = chunk.indexOf(quote as number, start);
  const quoteAt = found < 0 || found > end ? end : found;
  if (chunk[quoteAt - 1] !== backslash) return quoteAt;
  for (let at = start; at < quoteAt; at += 1) if (chunk[at] === backslash) return at;
  return quoteAt;
}

/** @throws Error when it is not JSON. The message does not quote the text, which may be a Secret. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notJson();
  }
}

function notJson(): Error {
  return new Error('it is not JSON');
}
