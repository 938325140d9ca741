import {
  booleanOf,
  childrenOf,
  contentOf,
  contextTag,
  cursor,
  derError,
  type Element,
  expectTag,
  smallInteger,
  soleElement,
  tags,
} from './der.ts';
import { decodeOid, nameOfOid, oids } from './oid.ts';

export interface Extension {
  /** Dotted object identifier. */
  readonly oid: string;
  /** Its usual name, or the identifier again. */
  readonly name: string;
  readonly critical: boolean;
  /** The DER inside the OCTET STRING. */
  readonly value: Uint8Array;
}

/** Extensions of RFC 5280 4.1, in order. Two of one kind are refused (4.2). */
export function extensionsOf(list: Element): Extension[] {
  expectTag(list, tags.sequence, 'the extensions');
  const extensions = childrenOf(list).map(extensionOf);
  if (extensions.length === 0) throw derError('the list of extensions is empty');
  const seen = new Set<string>();
  for (const { oid, name } of extensions) {
    if (seen.has(oid)) throw derError(`the extension ${name} occurs twice`);
    seen.add(oid);
  }
  return extensions;
}

function extensionOf(element: Element): Extension {
  expectTag(element, tags.sequence, 'an extension');
  const fields = cursor(element);
  const oid = decodeOid(contentOf(fields.next(tags.oid, 'the identifier of an extension')));
  const name = nameOfOid(oid);
  const critical = fields.peek() === tags.boolean && booleanOf(fields.any('criticality'));
  const value = contentOf(fields.next(tags.octetString, `the value of ${name}`));
  fields.end(`the extension ${name}`);
  return { oid, name, critical, value };
}

/** Bit n of a KeyUsage is the nth name (RFC 5280 4.2.1.3; nonRepudiation by its newer name). */
export const keyUsageBits = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

export type KeyUsage = (typeof keyUsageBits)[number];

export function keyUsageOf(value: Uint8Array): string[] {
  const [unused, ...octets] = contentOf(soleElement(value, tags.bitString, 'keyUsage'));
  if (unused === undefined || unused > 7 || octets.length > 2 || (octets.length === 0 && unused !== 0)) {
    throw derError('keyUsage is not a list of usages');
  }
  // A named bit list has no trailing zero bits in DER, and the unused ones are zero (X.690 11.2).
  const last = octets.at(-1);
  if (last !== undefined && (last & ((2 << unused) - 1)) !== 1 << unused) {
    throw derError('keyUsage is not in its shortest form');
  }
  return keyUsageBits.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0);
}

/** Purposes by name where they have one. */
export function extKeyUsageOf(value: Uint8Array): string[] {
  const purposes = childrenOf(soleElement(value, tags.sequence, 'extKeyUsage'));
  if (purposes.length === 0) throw derError('extKeyUsage is empty');
  return purposes.map((purpose) => {
    expectTag(purpose, tags.oid, 'a purpose in extKeyUsage');
    return nameOfOid(decodeOid(contentOf(purpose)));
  });
}

export interface BasicConstraints {
  readonly isCa: boolean;
  readonly pathLen: number | undefined;
}

export function basicConstraintsOf(value: Uint8Array): BasicConstraints {
  const fields = cursor(soleElement(value, tags.sequence, 'basicConstraints'));
  const written = fields.peek() === tags.boolean;
  const isCa = written && booleanOf(fields.any('cA'));
  // FALSE is the default, and DER leaves defaults out (X.690 11.5).
  if (written && !isCa) throw derError('basicConstraints writes out cA FALSE');
  const pathLen = fields.peek() === undefined ? undefined : smallInteger(fields.any('pathLen'), 'pathLen');
  fields.end('basicConstraints');
  return { isCa, pathLen };
}

/** The names of RFC 5280 4.2.1.6 (GeneralNames) that we use. */
export interface GeneralNames {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** The kinds of the others, such as "email". */
  readonly otherKinds: readonly string[];
}

const generalNameKinds = [
  'other name',
  'email',
  'DNS',
  'X.400',
  'directory',
  'EDI',
  'URI',
  'IP',
  'registered ID',
];

/** The kind of a GeneralName by its tag, such as "DNS". */
export function generalNameKind({ tag }: Element): string {
  return generalNameKinds[tag & 0x1f] ?? 'unknown';
}

export function subjectAltNameOf(value: Uint8Array): GeneralNames {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const otherKinds: string[] = [];
  const list = childrenOf(soleElement(value, tags.sequence, 'subjectAltName'));
  if (list.length === 0) throw derError('subjectAltName is empty');
  for (const name of list) {
    if (name.tag === contextTag(6, 'primitive')) uris.push(ia5(name));
    else if (name.tag === contextTag(2, 'primitive')) dnsNames.push(ia5(name));
    else otherKinds.push(generalNameKind(name));
  }
  return { uris, dnsNames, otherKinds };
}

/** URIs and DNS names are ASCII without spaces; a control character in one is meant to deceive the reader. */
function ia5(element: Element): string {
  const text = Buffer.from(contentOf(element)).toString('latin1');
  if (!/^[\x21-\x7e]*$/.test(text)) throw derError('a name in subjectAltName is not printable ASCII');
  return text;
}

export function subjectKeyIdOf(value: Uint8Array): Uint8Array {
  return contentOf(soleElement(value, tags.octetString, 'subjectKeyIdentifier'));
}

/** The keyIdentifier of an AuthorityKeyIdentifier; issuer and serial are not used and are passed over. */
export function authorityKeyIdOf(value: Uint8Array): Uint8Array | undefined {
  const fields = childrenOf(soleElement(value, tags.sequence, 'authorityKeyIdentifier'));
  const keyId = fields.find((field) => field.tag === contextTag(0, 'primitive'));
  return keyId && contentOf(keyId);
}

/** The parsers above, looked up by name of the extension. */
export function findExtension(
  extensions: readonly Extension[],
  oid: keyof typeof oids,
): Extension | undefined {
  return extensions.find((extension) => extension.oid === oids[oid]);
}
