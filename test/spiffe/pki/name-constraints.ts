import { Extension } from '@peculiar/x509';
import { Constructed, OctetString, Primitive, Sequence } from 'asn1js';

/** Kind of name and base, as in a subtree of names. */
export type Base = readonly [kind: 'email' | 'DNS' | 'directory' | 'URI' | 'IP', base: string];

const tagNumbers = { email: 1, DNS: 2, directory: 4, URI: 6, IP: 7 } as const;

/** A nameConstraints extension (RFC 5280 4.2.1.10), made with a library that is not ours. IP bases are hexadecimal. */
export function nameConstraints(wish: {
  readonly permitted?: readonly Base[];
  readonly excluded?: readonly Base[];
  readonly critical?: boolean;
}): Extension {
  const trees = [wish.permitted ?? [], wish.excluded ?? []].flatMap((bases, tagNumber) =>
    bases.length === 0
      ? []
      : [new Constructed({ idBlock: { tagClass: 3, tagNumber }, value: bases.map(subtree) })],
  );
  return new Extension('2.5.29.30', wish.critical ?? true, new Sequence({ value: trees }).toBER());
}

function subtree([kind, base]: Base): Sequence {
  const idBlock = { tagClass: 3, tagNumber: tagNumbers[kind] };
  const name =
    kind === 'directory'
      ? new Constructed({ idBlock, value: [new Sequence({ value: [] })] })
      : new Primitive({ idBlock, valueHex: view(Buffer.from(base, kind === 'IP' ? 'hex' : 'latin1')) });
  return new Sequence({ value: [name] });
}

/** An extension that nobody knows. */
export function unknownExtension(critical: boolean): Extension {
  return new Extension(
    '1.3.6.1.4.1.99999.1',
    critical,
    new OctetString({ valueHex: view(Buffer.of(1)) }).toBER(),
  );
}

function view(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

/** Constraints on a CA of example.org, and what SVIDs of example.org are to verifiers. */
export const constraintCases: readonly [
  name: string,
  wish: Parameters<typeof nameConstraints>[0],
  verdict: 'accepted' | RegExp,
][] = [
  ['permit the trust domain', { permitted: [['URI', 'example.org']] }, 'accepted'],
  ['permit the trust domain in upper case', { permitted: [['URI', 'EXAMPLE.org']] }, 'accepted'],
  ['permit all below org', { permitted: [['URI', '.org']] }, 'accepted'],
  [
    'permit two trust domains',
    {
      permitted: [
        ['URI', 'a.example'],
        ['URI', 'example.org'],
      ],
    },
    'accepted',
  ],
  [
    'permit another trust domain',
    { permitted: [['URI', 'example.com']] },
    /permit URIs of "example\.com" alone/,
  ],
  [
    'permit what is below the trust domain',
    { permitted: [['URI', '.example.org']] },
    /"\.example\.org" alone/,
  ],
  ['permit org, without a dot', { permitted: [['URI', 'org']] }, /"org" alone/],
  ['permit no URI', { permitted: [['URI', '']] }, /"" alone/],
  ['exclude another trust domain', { excluded: [['URI', 'example.com']] }, 'accepted'],
  ['exclude what is below the trust domain', { excluded: [['URI', '.example.org']] }, 'accepted'],
  ['exclude the trust domain', { excluded: [['URI', 'example.org']] }, /exclude URIs of "example\.org"/],
  ['exclude all below org', { excluded: [['URI', '.org']] }, /exclude URIs of "\.org"/],
  ['exclude every URI', { excluded: [['URI', '']] }, /exclude URIs of ""/],
  [
    'exclude what they permit',
    { permitted: [['URI', 'example.org']], excluded: [['URI', 'example.org']] },
    /exclude URIs/,
  ],
  ['permit DNS names alone', { permitted: [['DNS', 'corp.example']] }, 'accepted'],
  [
    'exclude email and IP addresses',
    {
      excluded: [
        ['email', 'a.example'],
        ['IP', '0a000000ff000000'],
      ],
    },
    'accepted',
  ],
  [
    'limit directory names',
    { permitted: [['directory', '']] },
    /critical nameConstraints for directory names/,
  ],
  ['limit directory names, not critical', { permitted: [['directory', '']], critical: false }, 'accepted'],
  [
    'exclude the trust domain, not critical',
    { excluded: [['URI', 'example.org']], critical: false },
    /exclude/,
  ],
];
