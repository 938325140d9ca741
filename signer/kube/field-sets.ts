const opening = Buffer.from('"fieldsV1":{');
const [quote, backslash, openBrace, closeBrace] = Buffer.from('"\\{}') as unknown as number[];

/**
 * The text of an object with each `fieldsV1` of its managedFields empty. Nothing reads them. They are half of the text, and
 * names such as `k:{"uid":"…"}`, which no two objects share, are what JSON.parse takes longest for.
 *
 * Text within a string is left alone: there, each quotation mark has a backslash before it.
 */
export function withoutFieldSets(json: Buffer): string {
  let start = json.indexOf(opening);
  if (start < 0) return json.toString();
  let text = '';
  let from = 0;
  for (; start >= 0; start = json.indexOf(opening, from)) {
    const inside = start + opening.length;
    text += json.toString('utf8', from, inside);
    from = endOfObject(json, inside);
  }
  return text + json.toString('utf8', from);
}

/** Where the brace is that closes an object whose content begins at `inside`; the end of what is no JSON. */
function endOfObject(json: Buffer, inside: number): number {
  let at = inside;
  for (let depth = 1; at < json.length; at += 1) {
    const byte = json[at];
    if (byte === quote) at = endOfString(json, at + 1);
    else if (byte === openBrace) depth += 1;
    else if (byte === closeBrace) depth -= 1;
    if (depth === 0) break;
  }
  return at;
}

function endOfString(json: Buffer, inside: number): number {
  let at = inside;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at;
}
