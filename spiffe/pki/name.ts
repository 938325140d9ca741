import { isUtf8 } from 'node:buffer';
import { childrenOf, contentOf, cursor, derError, type Element, expectTag, tags } from './der.ts';
import { decodeOid } from './oid.ts';

/** Whether a distinguished name has no part. Its parts are checked; names are compared by their DER. */
export function isEmptyName(name: Element): boolean {
  expectTag(name, tags.sequence, 'a name');
  const parts = childrenOf(name);
  for (const part of parts) {
    expectTag(part, tags.set, 'a relative name');
    for (const attribute of childrenOf(part)) checkAttribute(attribute);
  }
  return parts.length === 0;
}

function checkAttribute(attribute: Element): void {
  expectTag(attribute, tags.sequence, 'an attribute of a name');
  const fields = cursor(attribute);
  decodeOid(contentOf(fields.next(tags.oid, 'the type of a name attribute')));
  checkString(fields.any('the value of a name attribute'));
  fields.end('an attribute of a name');
}

/** Characters of the string types of few characters (X.680 41.4; IA5String is ASCII). */
const characters: Readonly<Record<number, RegExp>> = {
  // "*" and "&" are outside the type, but CAs use them and Go, which reads our chains for the API server, takes them.
  [tags.printableString]: /^[A-Za-z0-9 '()+,\-./:=?*&]*$/,
  [tags.ia5String]: /^[\0-\x7f]*$/,
};

/** DirectoryString and IA5String (RFC 5280 4.1.2.4). */
function checkString(element: Element): void {
  const content = Buffer.from(contentOf(element));
  switch (element.tag) {
    case tags.utf8String:
      if (!isUtf8(content)) throw derError('a UTF8String that is not UTF-8');
      return;
    case tags.printableString:
    case tags.ia5String:
    case tags.teletexString:
      if (characters[element.tag]?.test(content.toString('latin1')) === false)
        throw derError('a string with characters outside its type');
      return;
    case tags.bmpString:
      if (content.length % 2 !== 0) throw derError('a BMPString of an odd number of octets');
      return;
    default:
      throw derError('a name that is not a string');
  }
}
