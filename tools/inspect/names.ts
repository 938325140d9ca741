import { isIPv6, SocketAddress } from 'node:net';
import * as asn1js from 'asn1js';
import { AttributeTypeAndValue, GeneralName } from 'pkijs';

/** Short names of attribute types (RFC 4519, RFC 4514 3), and two that CAs use beside them. */
const attributeNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'GN',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};

/** A distinguished name in one line, in the order of the certificate; what would read as a further part is escaped (RFC 4514 2.4). */
export function distinguishedName(name: asn1js.AsnType): string {
  return elementsOf(name)
    .map((part) => elementsOf(part).map(attributeText).join(' + '))
    .join(', ');
}

function attributeText(schema: asn1js.AsnType): string {
  const { type, value } = new AttributeTypeAndValue({ schema });
  const text = valueText(value).replaceAll(/[\\,+"<>;]/g, '\\$&');
  return `${attributeNames[type] ?? type}=${text}`;
}

const nameKinds = ['other', 'email', 'DNS', 'X.400', 'directory', 'EDI', 'URI', 'IP', 'registered ID'];

/** GeneralNames (RFC 5280 4.2.1.6), such as `DNS:example.org`. One that the library cannot read is shown by its length. */
export function generalNames(names: asn1js.AsnType): string[] {
  return elementsOf(names).map((schema) => {
    const { tagNumber } = schema.idBlock;
    // Read before the library does, which changes what it reads.
    const size = octetsOf(schema).length;
    try {
      return generalName(new GeneralName({ schema }));
    } catch {
      return `${nameKinds[tagNumber] ?? 'unknown'}:(${size} bytes)`;
    }
  });
}

export function generalName({ type, value }: GeneralName): string {
  return `${nameKinds[type] ?? 'unknown'}:${nameValue(type, value)}`;
}

function nameValue(type: number, value: unknown): string {
  if (typeof value === 'string') return value;
  if (type === 0) {
    const [id, wrapped] = elementsOf(value as asn1js.AsnType);
    const [content] = elementsOf(wrapped);
    return `${valueText(id)}=${valueText(content)}`;
  }
  if (type === 4) return distinguishedName((value as { toSchema(): asn1js.AsnType }).toSchema());
  if (type === 7) return address(octetsOf(value as asn1js.AsnType));
  return bytesText(octetsOf(value as asn1js.AsnType));
}

/** An address; in name constraints it is followed by a mask of the same length (RFC 5280 4.2.1.10). */
function address(octets: Uint8Array): string {
  if (octets.length === 8 || octets.length === 32) {
    const middle = octets.length / 2;
    return `${address(octets.subarray(0, middle))}/${address(octets.subarray(middle))}`;
  }
  if (octets.length === 4) return octets.join('.');
  const groups = Buffer.from(octets).toString('hex').match(/..../g)?.join(':') ?? '';
  if (!isIPv6(groups)) return bytesText(octets);
  return new SocketAddress({ address: groups, family: 'ipv6' }).address;
}

/** A value of a simple type as text; of another one, its size and first octets. */
export function valueText(value: asn1js.AsnType | undefined): string {
  if (value instanceof asn1js.BaseStringBlock) return value.getValue();
  if (value instanceof asn1js.ObjectIdentifier) return value.getValue();
  if (value instanceof asn1js.Integer) return String(value.toBigInt());
  if (value instanceof asn1js.Boolean) return String(value.getValue());
  return value ? bytesText(octetsOf(value)) : '(none)';
}

const shownOctets = 24;

function bytesText(octets: Uint8Array): string {
  const start = Buffer.from(octets.subarray(0, shownOctets)).toString('hex');
  return `(${octets.length} bytes: ${start}${octets.length > shownOctets ? '…' : ''})`;
}

/** What a constructed element holds. */
export function elementsOf(element: asn1js.AsnType | undefined): asn1js.AsnType[] {
  if (element instanceof asn1js.Constructed) return element.valueBlock.value as asn1js.AsnType[];
  throw new Error('a value that is not constructed');
}

/** The octets of a primitive element; all of a constructed one. */
export function octetsOf(element: asn1js.AsnType): Uint8Array {
  const { valueBlock } = element;
  return 'valueHexView' in valueBlock && valueBlock.valueHexView instanceof Uint8Array
    ? valueBlock.valueHexView
    : element.valueBeforeDecodeView;
}
