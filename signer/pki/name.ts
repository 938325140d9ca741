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

/** DirectoryString and IA5String; anything else is shown as hex, as RFC 4514 2.4 does. */
function stringOf(element: Element): string {
  const content = Buffer.from(contentOf(element));
  switch (element.tag) {
    case tags.utf8String:
      return content.toString('utf8');
    case tags.printableString:
    case tags.ia5String:
    case tags.teletexString:
      return content.toString('latin1');
    case tags.bmpString:
      if (content.length % 2 !== 0) throw derError('a BMPString of an odd number of octets');
      return content.swap16().toString('utf16le');
    default:
      return `#${content.toString('hex')}`;
  }
}
