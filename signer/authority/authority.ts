import { createPublicKey, type KeyObject } from 'node:crypto';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { allowsDnsName, type DnsConstraints, dnsConstraintsOf } from '../../spiffe/name-constraints.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { leafTemplates, type SigningAuthority } from '../../spiffe/pki/leaf.ts';
import { certificatesPem } from '../../spiffe/pki/pem.ts';
import type { Result } from '../../spiffe/pki/result.ts';
import {
  authorityKeyNames,
  authorityKeyType,
  certificateSigner,
  nameOfKey,
  type SigningKey,
} from '../../spiffe/pki/sign.ts';
import { type KeysByRef, keyOfRecord, keysOfReaders } from '../keys/remote-keys.ts';
import { checkChain, checkConstraints, checkTrustDomain, ProblemFound, readCa } from './ca-checks.ts';
import { type AuthorityRecord, type CompiledAuthority, commonOf, hasKey } from './document.ts';
import type { Refusable } from './problem.ts';
import { publicKeyOf, readPrivateKey } from './read-keys.ts';

/** An X.509 authority of a pool. Its chain, its key (if it has one) and the trust domain fit together. */
export interface PooledAuthority extends CompiledAuthority {
  readonly kind: 'X509';
  readonly root: CertificateFacts;
  /** Issuer of the leaves first; empty where the root signs itself. */
  readonly intermediates: readonly CertificateFacts[];
  /** The certificate whose key signs the leaves. */
  readonly signing: CertificateFacts;
  /** The constraints of each certificate of the chain that limits DNS names. */
  readonly dnsConstraints: readonly DnsConstraints[];
  /** Ready to sign; undefined without a private key. */
  readonly signingAuthority: SigningAuthority | undefined;
  /** What is unusual though usable, as sentences. */
  readonly warnings: readonly string[];
}

/** An authority that has what signing takes. */
export type Authority = PooledAuthority & { readonly signingAuthority: SigningAuthority };

/** The DNS names that an authority must not sign, by the name constraints of its chain. */
export function forbiddenDnsNames(
  { dnsConstraints }: Pick<PooledAuthority, 'dnsConstraints'>,
  dnsNames: readonly string[],
): readonly string[] {
  return dnsNames.filter((name) => !dnsConstraints.every((constraints) => allowsDnsName(constraints, name)));
}

/**
 * Reads the certificates and the key of one X509 record, and checks that they fit together and belong to the trust
 * domain. Validity periods are not checked. `field` is where the record stands, such as `pool.authorities[0]`.
 */
export function readAuthority(
  record: AuthorityRecord,
  field: string,
  trustDomain: string | undefined,
  keysByRef: KeysByRef = keysOfReaders,
): Refusable<{ authority: PooledAuthority }> {
  try {
    return { ok: true, authority: compile(record, field, trustDomain, keysByRef) };
  } catch (error) {
    if (error instanceof ProblemFound) return { ok: false, problem: error.problem };
    throw error;
  }
}

function compile(
  record: AuthorityRecord,
  field: string,
  trustDomain: string | undefined,
  keysByRef: KeysByRef,
): PooledAuthority {
  const keyField = `${field}.privateKey`;
  const key =
    record.privateKey === undefined ? undefined : found(readPrivateKey(record.privateKey), keyField);
  const inMemory = key && served(keyField, () => certificateSigner(key), key);
  if (!hasKey(record) && record.state === 'active') {
    throw new ProblemFound(keyField, 'is missing, and an active authority has to sign');
  }
  const certificateField = `${field}.certificate`;
  const root = readCa(record.certificate ?? '', certificateField);
  const intermediates = (record.intermediates ?? []).map((pem, i) =>
    readCa(pem, `${field}.intermediates[${i}]`),
  );
  const signing = intermediates[0] ?? root;
  const chain = [...intermediates, root];

  if (key && !createPublicKey(key).equals(publicKeyOf(signing))) {
    const owner = intermediates.length > 0 ? 'the first intermediate' : 'the certificate';
    const what = `does not belong to ${owner} of authority ${record.id}`;
    throw new ProblemFound(
      keyField,
      what,
      'put the key of that certificate there, or put a copy back with `kubespiffe ca restore`',
      'PoolKeyMismatch',
    );
  }
  checkChain(chain, field);
  const signer = inMemory ?? signerElsewhere(record, publicKeyOf(signing), `${field}.keyRef`, keysByRef);
  const warningsOf = (certificate: CertificateFacts, place: string) => [
    ...checkTrustDomain(certificate, place, trustDomain),
    ...checkConstraints(certificate, place, trustDomain),
  ];
  const warnings = [
    ...warningsOf(root, certificateField),
    ...intermediates.flatMap((each, i) => warningsOf(each, `${field}.intermediates[${i}]`)),
  ];
  if (!root.hasSubject) warnings.push(`${certificateField}: has no subject, which strict verifiers refuse`);

  return {
    ...commonOf(record, field, nameOfKey(publicKeyOf(signing))),
    kind: 'X509',
    root,
    intermediates,
    signing,
    dnsConstraints: [root, ...intermediates].flatMap((each) => {
      const constraints = dnsConstraintsOf(each);
      return constraints.ok && constraints.value ? [constraints.value] : [];
    }),
    signingAuthority: signer && {
      id: record.id,
      signer,
      templateFor: leafTemplates({
        issuerDer: signing.subjectDer,
        keyId: signing.keyId,
        algorithmDer: signer.algorithmDer,
      }),
      chainSuffixPem: certificatesPem(intermediates),
      notBefore: Math.max(...chain.map((each) => each.notBefore)),
      notAfter: Math.min(...chain.map((each) => each.notAfter)),
    },
    warnings,
  };
}

/** @throws ProblemFound */
function found<T>(read: Result<T>, field: string): T {
  if (!read.ok) throw new ProblemFound(field, read.reason);
  return read.value;
}

/** The signer of a key outside of the pool; undefined without one. Only signatures show whether it is the right one. */
function signerElsewhere(
  record: AuthorityRecord,
  publicKey: KeyObject,
  field: string,
  keysByRef: KeysByRef,
): SigningKey | undefined {
  if (record.keyRef === undefined) return undefined;
  const type = served(field, () => authorityKeyType(publicKey), publicKey);
  return found(keyOfRecord(record, publicKey, type, keysByRef), field);
}

/** @throws ProblemFound for a key of a type that is not served. */
function served<T>(field: string, use: () => T, key: KeyObject): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof KubespiffeError)) throw error;
    throw new ProblemFound(
      field,
      `is a key of type ${nameOfKey(key)}`,
      `use a CA with a key of one of these types: ${authorityKeyNames.join(', ')}`,
    );
  }
}
