import { failure, type Result, success } from './result.ts';

export interface PemBlock {
  /** The words after BEGIN, for example "CERTIFICATE". */
  readonly label: string;
  readonly der: Uint8Array;
  /** Whether the block has RFC 1421 headers ("Proc-Type: …"), which RFC 7468 does not know. */
  readonly hasHeaders: boolean;
  /** Whether there is text other than white space in front of this block, or behind it if it is the last. */
  readonly hasTextAround: boolean;
}

/** Longest text that is read, in UTF-16 units. */
const maxLength = 4 * 1024 * 1024;
const lineLength = 64;

/**
 * A boundary that does not begin its line, has the wrong number of hyphens, or has dashes of a word processor. A reader
 * that takes it for text loses the certificate behind it.
 */
const looksLikeBoundary = /\p{Dash}{2,}\s*(BEGIN|END)\b/iu;
const strayBoundary = 'it looks like the boundary of a PEM block and is not one (RFC 7468 3)';

/** One PEM block in the strict form of RFC 7468 section 3, with a line end after the last line. */
export function encodePem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.length).toString('base64');
  const lines = [`-----BEGIN ${label}-----`];
  for (let at = 0; at < base64.length; at += lineLength) lines.push(base64.slice(at, at + lineLength));
  lines.push(`-----END ${label}-----\n`);
  // A text that is added up line by line takes three times the memory for as long as it is kept.
  return lines.join('\n');
}

/**
 * Reads the blocks of a PEM text, at least one. Base64 must be canonical; line lengths are free, line ends may
 * be CRLF. Text around blocks is passed over, but a line that looks like a boundary and is not one is a failure. The
 * reason of a failure never quotes the text, which may be a private key. Never throws; linear time.
 *
 * @param options strict: refuse headers and text around blocks, as Kubernetes does in trust bundles. Else they are flagged.
 */
export function decodePem(
  text: string,
  { strict = false }: { readonly strict?: boolean } = {},
): Result<PemBlock[]> {
  if (text.length > maxLength) return failure(`the PEM text is longer than ${maxLength} characters`);
  const lines = text.split('\n').map((line) => line.trimEnd());
  const blocks: PemBlock[] = [];
  let hasText = false;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (!line.startsWith('-----BEGIN ')) {
      if (looksLikeBoundary.test(line)) return failure(`line ${at + 1}: ${strayBoundary}`);
      hasText ||= line.trim() !== '';
      continue;
    }
    const label = boundaryLabel(line, 'BEGIN');
    if (label === undefined) return failure(`line ${at + 1}: a malformed BEGIN line`);
    let last = at + 1;
    while (last < lines.length && !lines[last]?.startsWith('-----')) last++;
    if (boundaryLabel(lines[last] ?? '', 'END') !== label) {
      return failure(`line ${at + 1}: the block has no END line of its own`);
    }
    const body = decodeBody(lines.slice(at + 1, last));
    if (!body) return failure(`line ${at + 1}: the content of the block is not base64`);
    blocks.push({ label, ...body, hasTextAround: hasText });
    hasText = false;
    at = last;
  }
  const last = blocks.pop();
  if (!last) return failure('there is no PEM block in the text');
  blocks.push({ ...last, hasTextAround: last.hasTextAround || hasText });
  if (strict && blocks.some((block) => block.hasHeaders)) return failure('a PEM block has headers');
  if (strict && blocks.some((block) => block.hasTextAround))
    return failure('there is text around the PEM blocks');
  return success(blocks);
}

/** The PEM text of certificates, in their order. */
export function certificatesPem(certificates: Iterable<{ readonly der: Uint8Array }>): string {
  return Array.from(certificates, ({ der }) => encodePem('CERTIFICATE', der)).join('');
}

/** The DER of each block of a PEM text; none where it cannot be read. */
export function blocksIn(text: string): Uint8Array[] {
  const blocks = decodePem(text);
  return blocks.ok ? blocks.value.map(({ der }) => der) : [];
}

/** The DER of the only block of a PEM text; undefined unless there is exactly one, and it has this label. */
export function soleBlock(text: string, label: string): Uint8Array | undefined {
  const blocks = decodePem(text);
  const [block, ...others] = blocks.ok ? blocks.value : [];
  return block?.label === label && others.length === 0 ? block.der : undefined;
}

/** The label of a boundary line. RFC 7468: printable characters, no hyphen or space at either end. */
function boundaryLabel(line: string, word: 'BEGIN' | 'END'): string | undefined {
  const prefix = `-----${word} `;
  if (!line.startsWith(prefix) || !line.endsWith('-----')) return undefined;
  const label = line.slice(prefix.length, -5);
  return label.length <= 64 && /^[A-Z0-9]+([ -][A-Z0-9]+)*$/i.test(label) ? label : undefined;
}

function decodeBody(lines: readonly string[]): { der: Uint8Array; hasHeaders: boolean } | undefined {
  const blank = lines.indexOf('');
  const hasHeaders = lines.some((line) => line.includes(':'));
  const base64 = (hasHeaders ? lines.slice(blank < 0 ? lines.length : blank) : lines)
    .map((line) => line.trim())
    .join('');
  const der = Buffer.from(base64, 'base64');
  // Buffer skips what is not base64, so the only proof that all of it was read is to write it again.
  if (base64 === '' || der.toString('base64') !== base64) return undefined;
  return { der, hasHeaders };
}
