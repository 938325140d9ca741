import { isUtf8 } from 'node:buffer';
import { childrenOf, contentOf, cursor, derError, type Element, expectTag, tags } from './der.ts';
import { decodeOid, nameOfOid } from './oid.ts';

/**
 * A distinguished name as text, most significant part first as it stands in the certificate, for example
 * `O=example, CN=root`. For people only: names are compared by their DER.
 */
export function nameText(name: Element): string {
  expectTag(name, tags.sequence, 'a name');
  return childrenOf(name)
    .map((rdn) => {
      expectTag(rdn, tags.set, 'a relative name');
      return childrenOf(rdn).map(attributeText).join('+');
    })
    .join(', ');
}

function attributeText(attribute: Element): string {
  expectTag(attribute, tags.sequence, 'an attribute of a name');
  const fields = cursor(attribute);
  const type = nameOfOid(decodeOid(contentOf(fields.next(tags.oid, 'the type of a name attribute'))));
  const value = stringOf(fields.any('the value of a name attribute'));
  fields.end('an attribute of a name');
  // Only what could be mistaken for the next part, or would disturb a terminal, is escaped.
  return `${type}=${value.replace(/[\\,+]/g, '\\$&').replace(/\p{Cc}/gu, '\u{fffd}')}`;
}

/** Characters of the string types of few characters (X.680 41.4; IA5String is ASCII). */
const characters: Readonly<Record<number, RegExp>> = {
  // "*" and "&" are outside the type, but CAs use them and Go, which reads our chains for the API server, takes them.
  [tags.printableString]: /^[A-Za-z0-9 '()+,\-./:=?*&]*$/,
  [tags.ia5String]: /^[\0-\x7f]*$/,
};

/** DirectoryString and IA5String (RFC 5280 4.1.2.4). */
function stringOf(element: Element): string {
  const content = Buffer.from(contentOf(element));
  switch (element.tag) {
    case tags.utf8String:
      if (!isUtf8(content)) throw derError('a UTF8String that is not UTF-8');
      return content.toString('utf8');
    case tags.printableString:
    case tags.ia5String:
    case tags.teletexString: {
      const text = content.toString('latin1');
      if (characters[element.tag]?.test(text) === false)
        throw derError('a string with characters outside its type');
      return text;
    }
    case tags.bmpString:
      if (content.length % 2 !== 0) throw derError('a BMPString of an odd number of octets');
      return content.swap16().toString('utf16le');
    default:
      throw derError('a name that is not a string');
  }
}
