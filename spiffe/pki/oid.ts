import { derError } from './der.ts';

/** The object identifiers that the code itself asks for. */
export const oids = {
  rsaEncryption: '1.2.840.113549.1.1.1',
  ecPublicKey: '1.2.840.10045.2.1',
  ed25519: '1.3.101.112',
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
  p521: '1.3.132.0.35',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha384WithRsa: '1.2.840.113549.1.1.12',
  sha512WithRsa: '1.2.840.113549.1.1.13',
  rsassaPss: '1.2.840.113549.1.1.10',
  mgf1: '1.2.840.113549.1.1.8',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  issuerAltName: '2.5.29.18',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  /** KEP-4317, below the number of Kubernetes at IANA. */
  podIdentity: '1.3.6.1.4.1.57683.1',
} as const;

/** What people call an object identifier, for messages: the name above where no other follows. */
const names: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(oids).map(([name, oid]) => [oid, name])),

  [oids.rsaEncryption]: 'RSA',
  [oids.ecPublicKey]: 'ECDSA',
  [oids.ed25519]: 'Ed25519',
  '1.3.101.110': 'X25519',
  '1.3.101.111': 'X448',
  '1.3.101.113': 'Ed448',
  '1.2.840.10040.4.1': 'DSA',
  '1.2.840.10046.2.1': 'DH',
  '1.2.840.113549.1.3.1': 'DH',
  '1.2.840.113549.1.1.7': 'RSAES-OAEP',
  [oids.rsassaPss]: 'RSASSA-PSS',
  '1.2.156.10197.1.301': 'SM2',
  '2.16.840.1.101.3.4.3.17': 'ML-DSA-44',
  '2.16.840.1.101.3.4.3.18': 'ML-DSA-65',
  '2.16.840.1.101.3.4.3.19': 'ML-DSA-87',
  '2.16.840.1.101.3.4.3.20': 'SLH-DSA-SHA2-128s',
  '2.16.840.1.101.3.4.3.21': 'SLH-DSA-SHA2-128f',
  '2.16.840.1.101.3.4.3.22': 'SLH-DSA-SHA2-192s',
  '2.16.840.1.101.3.4.3.23': 'SLH-DSA-SHA2-192f',
  '2.16.840.1.101.3.4.3.24': 'SLH-DSA-SHA2-256s',
  '2.16.840.1.101.3.4.3.25': 'SLH-DSA-SHA2-256f',
  '2.16.840.1.101.3.4.3.26': 'SLH-DSA-SHAKE-128s',
  '2.16.840.1.101.3.4.3.27': 'SLH-DSA-SHAKE-128f',
  '2.16.840.1.101.3.4.3.28': 'SLH-DSA-SHAKE-192s',
  '2.16.840.1.101.3.4.3.29': 'SLH-DSA-SHAKE-192f',
  '2.16.840.1.101.3.4.3.30': 'SLH-DSA-SHAKE-256s',
  '2.16.840.1.101.3.4.3.31': 'SLH-DSA-SHAKE-256f',

  [oids.p256]: 'P-256',
  [oids.p384]: 'P-384',
  [oids.p521]: 'P-521',
  '1.2.840.10045.3.1.1': 'P-192',
  '1.3.132.0.33': 'P-224',
  '1.3.132.0.10': 'secp256k1',
  '1.3.36.3.3.2.8.1.1.7': 'brainpoolP256r1',
  '1.3.36.3.3.2.8.1.1.11': 'brainpoolP384r1',
  '1.3.36.3.3.2.8.1.1.13': 'brainpoolP512r1',

  [oids.ecdsaWithSha256]: 'ecdsa-with-SHA256',
  [oids.ecdsaWithSha384]: 'ecdsa-with-SHA384',
  '1.2.840.10045.4.1': 'ecdsa-with-SHA1',
  [oids.ecdsaWithSha512]: 'ecdsa-with-SHA512',
  '1.2.840.113549.1.1.4': 'md5WithRSAEncryption',
  '1.2.840.113549.1.1.5': 'sha1WithRSAEncryption',
  [oids.sha256WithRsa]: 'sha256WithRSAEncryption',
  [oids.sha384WithRsa]: 'sha384WithRSAEncryption',
  [oids.sha512WithRsa]: 'sha512WithRSAEncryption',

  '2.5.29.16': 'privateKeyUsagePeriod',
  '2.5.29.31': 'cRLDistributionPoints',
  '2.5.29.32': 'certificatePolicies',
  '2.5.29.32.0': 'anyPolicy',
  '2.5.29.33': 'policyMappings',
  '2.5.29.36': 'policyConstraints',
  '2.5.29.46': 'freshestCRL',
  '2.5.29.54': 'inhibitAnyPolicy',
  '1.3.6.1.5.5.7.1.1': 'authorityInfoAccess',
  '1.3.6.1.5.5.7.1.11': 'subjectInfoAccess',
  '1.3.6.1.5.5.7.48.1': 'OCSP',
  '1.3.6.1.5.5.7.48.2': 'caIssuers',
  '1.3.6.1.4.1.11129.2.4.2': 'signedCertificateTimestamps',
  '2.16.840.1.113730.1.13': 'nsComment',

  '1.3.6.1.5.5.7.3.3': 'codeSigning',
  '1.3.6.1.5.5.7.3.4': 'emailProtection',
  '1.3.6.1.5.5.7.3.8': 'timeStamping',
  '1.3.6.1.5.5.7.3.9': 'OCSPSigning',
  '2.5.29.37.0': 'anyExtendedKeyUsage',
};

/** The usual name of a dotted object identifier, or the identifier itself. */
export function nameOfOid(dotted: string): string {
  return Object.hasOwn(names, dotted) ? (names[dotted] ?? dotted) : dotted;
}

/** An arc of 19 octets holds 128 bits, which is what UUID-based identifiers need; more is an attack on time. */
const maxArcOctets = 19;
const maxOctets = 128;

/** Dotted form of the content of an OBJECT IDENTIFIER; throws DER_INVALID. */
export function decodeOid(content: Uint8Array): string {
  if (content.length === 0 || content.length > maxOctets)
    throw derError('an object identifier of bad length');
  const arcs: bigint[] = [];
  let arc = 0n;
  let octets = 0;
  for (const octet of content) {
    if (octets === 0 && octet === 0x80) throw derError('an object identifier not in its shortest form');
    if (++octets > maxArcOctets) throw derError('an object identifier with an arc above 128 bits');
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    if (octet >= 0x80) continue;
    arcs.push(arc);
    arc = 0n;
    octets = 0;
  }
  if (octets !== 0) throw derError('a truncated object identifier');
  const [first = 0n, ...rest] = arcs;
  const root = first < 40n ? 0n : first < 80n ? 1n : 2n;
  return [root, first - root * 40n, ...rest].join('.');
}

/** Content octets of a dotted object identifier; throws DER_INVALID. */
export function encodeOid(dotted: string): Buffer {
  if (!/^[0-2](\.(0|[1-9][0-9]*))+$/.test(dotted)) throw derError(`"${dotted}" is not an object identifier`);
  const [root = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  if (root < 2n && second >= 40n) throw derError(`"${dotted}" is not an object identifier`);
  return Buffer.from([root * 40n + second, ...rest].flatMap(encodeArc));
}

function encodeArc(arc: bigint): number[] {
  const octets = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) octets.unshift(Number(rest & 0x7fn) | 0x80);
  return octets;
}
