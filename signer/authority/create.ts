import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { isDnsName } from '../../spiffe/dns-name.ts';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { type AuthorityKeyType, type KeyType, keyTypes } from '../../spiffe/pki/algorithms.ts';
import { dnsNameConstraints } from '../../spiffe/pki/name-constraints.ts';
import { oids } from '../../spiffe/pki/oid.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { parseIssuingTrustDomain } from '../../spiffe/trust-domain.ts';
import { type AuthorityRecord, isAuthorityId } from './document.ts';

export { newPool } from './document.ts';

/**
 * How far a root's notBefore lies in the past, in seconds: more than the two minutes of its leaves, so that a leaf
 * issued at once never begins before its issuer, and enough for verifiers whose clocks are slow.
 */
const rootBackdateSeconds = 3600;

/**
 * A year: four times the longest certificate that a pod can ask for (91 days), and short enough that changing the
 * root stays a thing that is done, not one that nobody remembers.
 */
const defaultRootLifetimeSeconds = 365 * 24 * 3600;

/** A root must outlive the first leaf; and beyond thirty years lies a typing error. */
const rootLifetimeBounds = { min: 24 * 3600, max: 30 * 365 * 24 * 3600 } as const;

export interface NewAuthority {
  readonly id: string;
  /** Undefined for a CA of no trust domain, which signs DNS names. */
  readonly trustDomain: string | undefined;
  /** The only DNS names that it may sign, with all below them; all if absent. */
  readonly permittedDnsNames?: readonly string[];
  readonly keyType?: AuthorityKeyType;
  /** Seconds from now to notAfter. */
  readonly lifetimeSeconds?: number;
  /** Seconds since the epoch. */
  readonly now: number;
}

/**
 * Makes a root (X509-SVID 4, RFC 5280 4): subject `O=kubespiffe, CN=<trust domain> <id>`, the SPIFFE ID of the trust
 * domain as its only SAN, keyUsage keyCertSign and cRLSign only. One of no trust domain has no SAN and
 * `CN=service-dns <id>`. The first authority of a pool is active at once.
 *
 * @throws KubespiffeError SPIFFE_ID_INVALID for the trust domain, USAGE for id, lifetime or DNS names.
 */
export async function createAuthority(wanted: NewAuthority): Promise<AuthorityRecord> {
  const { trustDomain, permittedDnsNames = [] } = wanted;
  const read = trustDomain === undefined ? undefined : parseIssuingTrustDomain(trustDomain);
  if (read?.ok === false) throw new KubespiffeError('SPIFFE_ID_INVALID', read.reason);
  if (!isAuthorityId(wanted.id)) {
    const rule = '1 to 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends';
    throw new KubespiffeError('USAGE', `the id of an authority is ${rule}`);
  }
  const notDns = permittedDnsNames.find((name) => !isDnsName(name));
  if (notDns !== undefined) {
    throw new KubespiffeError('USAGE', `${JSON.stringify(notDns)} is not a DNS name in lower case`);
  }
  const lifetime = wanted.lifetimeSeconds ?? defaultRootLifetimeSeconds;
  if (!(lifetime >= rootLifetimeBounds.min && lifetime <= rootLifetimeBounds.max)) {
    throw new KubespiffeError('USAGE', 'the lifetime of a root is between 24h and 30 years (262800h)');
  }
  const algorithm = keyTypes[wanted.keyType ?? 'ecdsa-p256'].webcrypto;
  const keys = await generateKeys(algorithm);
  const subjectKeyId = await SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto);
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: Buffer.from(makeSerial(randomBytes)).toString('hex'),
      name: [{ O: ['kubespiffe'] }, { CN: [commonName(trustDomain ?? 'service-dns', wanted.id)] }],
      notBefore: new Date((wanted.now - rootBackdateSeconds) * 1000),
      notAfter: new Date((wanted.now + lifetime) * 1000),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        subjectKeyId,
        new AuthorityKeyIdentifierExtension(subjectKeyId.keyId),
        ...(trustDomain === undefined
          ? []
          : [new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }])]),
        ...(permittedDnsNames.length === 0
          ? []
          : [new Extension(oids.nameConstraints, true, dnsNameConstraints(permittedDnsNames))]),
      ],
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  const createdAt = rfc3339(wanted.now);
  return {
    id: wanted.id,
    kind: 'X509',
    state: 'active',
    tainted: false,
    privateKey: encodePem('PRIVATE KEY', new Uint8Array(pkcs8)),
    certificate: encodePem('CERTIFICATE', new Uint8Array(root.rawData)),
    intermediates: [],
    createdAt,
    publishedAt: createdAt,
    activatedAt: createdAt,
  };
}

/** X.520 allows 64 characters, a trust domain has up to 255 and an id up to 63. The id distinguishes roots. */
function commonName(owner: string, id: string): string {
  const limit = 64;
  const room = limit - id.length - 1;
  if (owner.length <= room) return `${owner} ${id}`;
  return room < 8 ? id : `${owner.slice(0, room - 3)}... ${id}`;
}

async function generateKeys(algorithm: KeyType['webcrypto']): Promise<webcrypto.CryptoKeyPair> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  if (!('publicKey' in keys)) throw new Error('the platform made no key pair');
  return keys;
}
