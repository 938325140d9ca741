import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { type CaContent, caExtensions, caName, checkCaContent } from './ca-content.ts';
import { caKeysOf, type WantedKey } from './ca-keys.ts';
import type { AuthorityRecord } from './document.ts';

export { newPool } from './document.ts';

/**
 * How far a root's notBefore lies in the past, in seconds: more than the two minutes of its leaves, so that a leaf
 * issued at once never begins before its issuer, and enough for verifiers whose clocks are slow.
 */
export const rootBackdateSeconds = 3600;

/**
 * A year: four times the longest certificate that a pod can ask for (91 days), and short enough that changing the
 * root stays routine.
 */
const defaultRootLifetimeSeconds = 365 * 24 * 3600;

/** A root must outlive the first leaf; and beyond thirty years lies a typing error. */
const rootLifetimeBounds = { min: 24 * 3600, max: 30 * 365 * 24 * 3600 } as const;

export interface NewAuthority extends CaContent, WantedKey {
  readonly id: string;
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
  const { trustDomain } = wanted;
  checkCaContent(wanted);
  const lifetime = wanted.lifetimeSeconds ?? defaultRootLifetimeSeconds;
  if (!(lifetime >= rootLifetimeBounds.min && lifetime <= rootLifetimeBounds.max)) {
    throw new KubespiffeError('USAGE', 'the lifetime of a root is between 24h and 30 years (262800h)');
  }
  const keys = await caKeysOf(wanted);
  const { publicKey } = keys.pair;
  const { keyId } = await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto);
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: newSerial(),
      name: caName(trustDomain, wanted.id),
      notBefore: new Date((wanted.now - rootBackdateSeconds) * 1000),
      notAfter: new Date((wanted.now + lifetime) * 1000),
      signingAlgorithm: keyTypes[keys.type].webcrypto,
      keys: keys.pair,
      extensions: [...(await caExtensions(wanted, publicKey)), new AuthorityKeyIdentifierExtension(keyId)],
    },
    webcrypto,
  );
  const certificate = await keys.finish(new Uint8Array(root.rawData));
  const createdAt = rfc3339(wanted.now);
  return {
    id: wanted.id,
    kind: 'X509',
    state: 'active',
    tainted: false,
    ...keys.record,
    certificate: encodePem('CERTIFICATE', certificate),
    intermediates: [],
    createdAt,
    publishedAt: createdAt,
    activatedAt: createdAt,
  };
}

/** A serial number for a CA certificate, in hex. */
export function newSerial(): string {
  return Buffer.from(makeSerial(randomBytes)).toString('hex');
}
