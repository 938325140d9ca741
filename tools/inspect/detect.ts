import { parseAllDocuments } from 'yaml';
import type { Finding } from '../../spiffe/clauses.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { hasByteOrderMark, textOf } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import { documentValue } from '../read-input.ts';
import { type InspectContext, inspectPem, knownForms } from './pem.ts';
import { finding, type Inspection, withFirst } from './report.ts';
import { inspectObjects } from './several.ts';

/** Room for a List of several hundred requests. One object is at most 1.5 MiB, which is the limit of etcd. */
const maxBytes = 16 * 1024 * 1024;

/**
 * Finds out by its content what was given, and inspects it.
 * @throws CliError for content of no known form or that cannot be read. The error never contains any of it.
 */
export function inspectContent(content: Buffer, context: InspectContext): Inspection {
  if (content.length === 0) throw new CliError('USAGE', 'there is nothing in it', knownForms);
  if (content.length > maxBytes) throw new CliError('USAGE', 'it is larger than 16 MiB', knownForms);
  // DER begins with a SEQUENCE of a long form length.
  if (content[0] === 0x30 && (content[1] ?? 0) >= 0x80) {
    return inspectPem(encodePem('CERTIFICATE', content), context);
  }
  const text = textOf(content);
  const isObject = /^\s*\{/.test(text) || /^(apiVersion|kind|keys):/m.test(text);
  if (isObject) return withFirst(inspectObjects(parse(text), context), [byteOrder(content, 'object')]);
  if (text.includes('-----BEGIN ')) {
    return withFirst(inspectPem(text, context), [byteOrder(content, 'pem')]);
  }
  if (/^\s*eyJ[\w-]*\.[\w-]+\.[\w-]+\s*$/.test(text)) {
    throw new CliError('USAGE', 'this is a token', '`kubespiffe token --decode FILE` shows what is in it');
  }
  throw new CliError('USAGE', 'this is neither PEM nor DER nor an object as JSON or YAML', knownForms);
}

/** We read a file with a byte order mark; many others do not, or lose the first certificate in silence. */
export function byteOrder(content: Uint8Array, form: 'object' | 'pem'): Finding {
  const problem = hasByteOrderMark(content) ? marked[form] : undefined;
  const demand = 'no byte order mark precedes the text';
  return form === 'pem'
    ? finding('should', 'RFC 7468 3', demand, problem)
    : finding('must', 'RFC 8259 8.1', demand, problem);
}

const marked = {
  pem: 'a byte order mark precedes the first block, which OpenSSL and Go then leave out; save the file without it',
  object: 'a byte order mark precedes the text, and many readers refuse it; save the file without it',
};

/** The documents of a YAML stream. JSON is YAML. */
function parse(text: string): unknown[] {
  const documents = parseAllDocuments(text, { prettyErrors: true, logLevel: 'error' });
  const error = documents.flatMap(({ errors }) => errors)[0];
  if (!error) return documents.map(documentValue);
  // The parser's own message quotes the text, which may be a key.
  const place = error.linePos?.[0];
  const where = place ? ` (line ${place.line}, column ${place.col})` : '';
  throw new CliError('USAGE', `this is not valid JSON or YAML${where}`, knownForms);
}
