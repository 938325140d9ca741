import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Extension,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
} from '@peculiar/x509';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { isDnsBase } from '../../spiffe/name-constraints.ts';
import { type AuthorityKeyType, keyTypes } from '../../spiffe/pki/algorithms.ts';
import { oids } from '../../spiffe/pki/oid.ts';
import { parseIssuingTrustDomain } from '../../spiffe/trust-domain.ts';
import { isAuthorityId } from './document.ts';

/** What a CA certificate that we make, or ask for, says beside its name and key. */
export interface CaContent {
  /** Undefined for a CA of no trust domain, which signs DNS names. */
  readonly trustDomain: string | undefined;
  /** How many CAs may stand between it and a leaf; any number if absent (RFC 5280 4.2.1.9). */
  readonly pathLength?: number;
  /** The only DNS names that it may sign, with all below them; all if absent. With a leading dot those below it alone. */
  readonly permittedDnsNames?: readonly string[];
  /** DNS names that it may not sign, with all below them. The empty name stands for all names. */
  readonly excludedDnsNames?: readonly string[];
  /** Whether it may sign SPIFFE IDs of its own trust domain only. Not every verifier processes such a limit. */
  readonly onlyTrustDomain?: boolean;
}

/** @throws KubespiffeError SPIFFE_ID_INVALID for the trust domain, USAGE for id, path length or DNS names. */
export function checkCaContent(content: CaContent & { readonly id?: string }): void {
  const { trustDomain, pathLength = 0, permittedDnsNames = [], excludedDnsNames = [], id } = content;
  if (id !== undefined && !isAuthorityId(id)) {
    const rule = '1 to 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends';
    throw new KubespiffeError('USAGE', `the id of an authority is ${rule}`);
  }
  const read = trustDomain === undefined ? undefined : parseIssuingTrustDomain(trustDomain);
  if (read?.ok === false) throw new KubespiffeError('SPIFFE_ID_INVALID', read.reason);
  if (!Number.isInteger(pathLength) || pathLength < 0 || pathLength > 4) {
    throw new KubespiffeError('USAGE', 'the path length of a CA is a whole number from 0 to 4');
  }
  const bases = [...permittedDnsNames, ...excludedDnsNames.filter((name) => name !== '')];
  const notDns = bases.find((name) => !isDnsBase(name));
  if (notDns !== undefined) {
    throw new KubespiffeError('USAGE', `${JSON.stringify(notDns)} is not a DNS name in lower case`);
  }
}

/** The extensions of a CA (X509-SVID 4, RFC 5280 4.2.1): the SPIFFE ID of the trust domain is its only name. */
export async function caExtensions(content: CaContent, publicKey: webcrypto.CryptoKey): Promise<Extension[]> {
  const { trustDomain, pathLength, permittedDnsNames = [], excludedDnsNames = [], onlyTrustDomain } = content;
  const names = trustDomain === undefined ? [] : [`spiffe://${trustDomain}`];
  // The numbers of dNSName and uniformResourceIdentifier (RFC 5280 4.2.1.6). A kind of names without an entry stays free.
  const dns = (value: string) => ({ type: 2 as const, value });
  const permitted = [
    ...permittedDnsNames.map(dns),
    ...(onlyTrustDomain && trustDomain !== undefined ? [{ type: 6 as const, value: trustDomain }] : []),
  ];
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
    ...names.map((value) => new SubjectAlternativeNameExtension([{ type: 'url', value }])),
    ...(await nameConstraints(permitted, excludedDnsNames.map(dns))),
  ];
}

interface NameBase {
  readonly type: 2 | 6;
  readonly value: string;
}

/** Few CAs have them, so the library for them is loaded here. */
async function nameConstraints(
  permitted: readonly NameBase[],
  excluded: readonly NameBase[],
): Promise<Extension[]> {
  if (permitted.length + excluded.length === 0) return [];
  const { GeneralName, GeneralSubtree, NameConstraints } = await import('pkijs');
  const subtrees = (names: readonly NameBase[]) =>
    names.map((name) => new GeneralSubtree({ base: new GeneralName(name) }));
  // RFC 5280 4.2.1.10: neither list is empty.
  const constraints = new NameConstraints({
    ...(permitted.length > 0 && { permittedSubtrees: subtrees(permitted) }),
    ...(excluded.length > 0 && { excludedSubtrees: subtrees(excluded) }),
  });
  return [new Extension(oids.nameConstraints, true, constraints.toSchema().toBER())];
}

/** The subject of a CA: `O=kubespiffe, CN=<trust domain> <id>`. X.520 allows 64 characters; the id distinguishes CAs. */
export function caName(trustDomain: string | undefined, id: string): JsonName {
  const owner = trustDomain ?? 'service-dns';
  const room = 64 - id.length - 1;
  const shown = owner.length <= room ? owner : room < 8 ? '' : `${owner.slice(0, room - 3)}...`;
  return [{ O: ['kubespiffe'] }, { CN: [shown === '' ? id : `${shown} ${id}`] }];
}

/** A new key of a CA that can be exported. */
export async function generateCaKeys(type: AuthorityKeyType): Promise<webcrypto.CryptoKeyPair> {
  const keys = await webcrypto.subtle.generateKey(keyTypes[type].webcrypto, true, ['sign', 'verify']);
  if (!('publicKey' in keys)) throw new Error('the platform made no key pair');
  return keys;
}
