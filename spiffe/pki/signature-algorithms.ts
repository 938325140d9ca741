import { contentOf, contextTag, cursor, derOf, type Element, tags } from './der.ts';
import { derNull, encode, objectIdentifier, sequence } from './der-writer.ts';
import { decodeOid, nameOfOid, oids } from './oid.ts';

/** How a signature is verified. */
export interface SignatureAlgorithm {
  /** For people, such as "ecdsa-with-SHA256". */
  readonly name: string;
  /** What kind of key makes such a signature, in the words of a KeyObject. */
  readonly keyType: 'ec' | 'rsa' | 'ed25519';
  /** null where the algorithm brings its own. */
  readonly digest: 'sha256' | 'sha384' | 'sha512' | null;
  readonly isPss: boolean;
  /** Every AlgorithmIdentifier (DER) that stands for it. */
  readonly encodings: readonly Uint8Array[];
}

const digests = [
  { digest: 'sha256', octets: 32, ecdsa: oids.ecdsaWithSha256, rsa: oids.sha256WithRsa },
  { digest: 'sha384', octets: 48, ecdsa: oids.ecdsaWithSha384, rsa: oids.sha384WithRsa },
  { digest: 'sha512', octets: 64, ecdsa: oids.ecdsaWithSha512, rsa: oids.sha512WithRsa },
] as const;

/**
 * What signatures are verified with; SHA-1 and MD5 are out. Parameters are absent for ECDSA (RFC 5758 3.2) and Ed25519
 * (RFC 8410 3), and NULL or absent for RSA (RFC 4055 5).
 */
const algorithms: readonly SignatureAlgorithm[] = [
  ...digests.flatMap(({ digest, octets, ecdsa, rsa }): SignatureAlgorithm[] => [
    {
      name: nameOfOid(ecdsa),
      keyType: 'ec',
      digest,
      isPss: false,
      encodings: [sequence(objectIdentifier(ecdsa))],
    },
    {
      name: nameOfOid(rsa),
      keyType: 'rsa',
      digest,
      isPss: false,
      encodings: [sequence(objectIdentifier(rsa), derNull), sequence(objectIdentifier(rsa))],
    },
    {
      name: `RSASSA-PSS with ${digest}`,
      keyType: 'rsa',
      digest,
      isPss: true,
      encodings: [pss(oids[digest], octets, derNull), pss(oids[digest], octets, new Uint8Array())],
    },
  ]),
  {
    name: 'Ed25519',
    keyType: 'ed25519',
    digest: null,
    isPss: false,
    encodings: [sequence(objectIdentifier(oids.ed25519))],
  },
];

/** RSASSA-PSS (RFC 4055 3.1) as everybody uses it: MGF1 with the same hash, a salt as long as the hash. */
function pss(hash: string, saltLength: number, parameters: Uint8Array): Uint8Array {
  const hashAlgorithm = sequence(objectIdentifier(hash), parameters);
  return sequence(
    objectIdentifier(oids.rsassaPss),
    sequence(
      encode(contextTag(0), hashAlgorithm),
      encode(contextTag(1), sequence(objectIdentifier(oids.mgf1), hashAlgorithm)),
      encode(contextTag(2), encode(tags.integer, Uint8Array.of(saltLength))),
    ),
  );
}

export function signatureAlgorithmNamed(name: string): SignatureAlgorithm | undefined {
  return algorithms.find((algorithm) => algorithm.name === name);
}

/**
 * The algorithm of an AlgorithmIdentifier, compared whole: parameters that mean something else are another algorithm.
 * @returns the name of one that is not verified here. @throws DER_INVALID
 */
export function signatureAlgorithmOf(identifier: Element): SignatureAlgorithm | { readonly unknown: string } {
  const der = derOf(identifier);
  const found = algorithms.find(({ encodings }) => encodings.some((each) => Buffer.compare(each, der) === 0));
  if (found) return found;
  const oid = cursor(identifier).next(tags.oid, 'the signature algorithm');
  return { unknown: nameOfOid(decodeOid(contentOf(oid))) };
}
