import { createPublicKey, type KeyObject } from 'node:crypto';
import { unprocessedExtensions } from '../../spiffe/clauses.ts';
import { KubespiffeError } from '../../spiffe/errors.ts';
import {
  allowsDnsName,
  type DnsConstraints,
  dnsConstraintsOf,
  judgeNameConstraints,
} from '../../spiffe/name-constraints.ts';
import { type CertificateFacts, readCertificate } from '../../spiffe/pki/certificate.ts';
import { leafTemplates, type SigningAuthority } from '../../spiffe/pki/leaf.ts';
import { encodePem, soleBlock } from '../../spiffe/pki/pem.ts';
import {
  authorityKeyNames,
  authorityKeyType,
  certificateSigner,
  nameOfKey,
  type SigningKey,
} from '../../spiffe/pki/sign.ts';
import { isSignedBy } from '../../spiffe/pki/verify.ts';
import { type KeysByRef, keyOfRecord, keysOfReaders } from '../keys/remote-keys.ts';
import { type AuthorityRecord, hasKey } from './document.ts';
import { readPrivateKey } from './private-key.ts';
import { type PoolProblem, type PoolProblemReason, poolProblem } from './problem.ts';
import type { AuthorityState } from './states.ts';

/** An X.509 authority of a pool, held against itself: chain, key (if it has one) and trust domain fit together. */
export interface PooledAuthority {
  readonly id: string;
  readonly kind: 'X509';
  readonly state: AuthorityState;
  readonly tainted: boolean;
  /** Where it stands, such as `pool.authorities[0]`. */
  readonly field: string;
  /** Of the signing certificate, such as `ECDSA P-256`. */
  readonly keyType: string;
  readonly root: CertificateFacts;
  /** Issuer of the leaves first; empty where the root signs itself. */
  readonly intermediates: readonly CertificateFacts[];
  /** The certificate whose key signs the leaves. */
  readonly signing: CertificateFacts;
  /** The constraints of each certificate of the chain that limits DNS names. */
  readonly dnsConstraints: readonly DnsConstraints[];
  /** Ready to sign; undefined where there is no private key. */
  readonly signingAuthority: SigningAuthority | undefined;
  readonly createdAt?: string;
  readonly publishedAt?: string;
  /** What is unusual though usable, as sentences. */
  readonly warnings: readonly string[];
}

/** An authority that has what signing takes. */
export type Authority = PooledAuthority & { readonly signingAuthority: SigningAuthority };

/** The first DNS name that an authority must not sign, by the name constraints of its chain; undefined for none. */
export function forbiddenDnsName(
  { dnsConstraints }: Pick<PooledAuthority, 'dnsConstraints'>,
  dnsNames: readonly string[],
): string | undefined {
  return dnsNames.find((name) => !dnsConstraints.every((constraints) => allowsDnsName(constraints, name)));
}

export type AuthorityResult = { ok: true; authority: PooledAuthority } | { ok: false; problem: PoolProblem };

const correct =
  'use a CA without this problem; if the pool was in use, put a copy back with `kubespiffe ca restore`';

/** Raised inside this file only, to leave a sequence of checks at the first fault. */
class Fault extends Error {
  readonly problem: PoolProblem;

  constructor(field: string, what: string, remedy = correct, reason: PoolProblemReason = 'PoolMalformed') {
    super(what);
    this.problem = poolProblem(reason, field, what, remedy);
  }
}

/**
 * Reads the certificates and the key of one X509 record and holds them against each other and the trust domain.
 * Times are not looked at. `field` is where the record stands, such as `pool.authorities[0]`.
 */
export function readAuthority(
  record: AuthorityRecord,
  field: string,
  trustDomain: string | undefined,
  keysByRef: KeysByRef = keysOfReaders,
): AuthorityResult {
  try {
    return { ok: true, authority: compile(record, field, trustDomain, keysByRef) };
  } catch (error) {
    if (error instanceof Fault) return { ok: false, problem: error.problem };
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
  const key = record.privateKey === undefined ? undefined : readKey(record.privateKey, keyField);
  const inMemory = key && served(keyField, () => certificateSigner(key), key);
  if (!hasKey(record) && record.state === 'active') {
    throw new Fault(keyField, 'is missing, and an active authority has to sign');
  }
  const certificateField = `${field}.certificate`;
  const root = readCa(record.certificate ?? '', certificateField);
  const intermediates = (record.intermediates ?? []).map((pem, i) =>
    readCa(pem, `${field}.intermediates[${i}]`),
  );
  const signing = intermediates[0] ?? root;

  if (key && !createPublicKey(key).equals(publicKeyOf(signing))) {
    const owner = intermediates.length > 0 ? 'the first intermediate' : 'the certificate';
    const what = `does not belong to ${owner} of authority ${record.id}`;
    throw new Fault(
      keyField,
      what,
      'put the key of that certificate there, or put a copy back with `kubespiffe ca restore`',
      'PoolKeyMismatch',
    );
  }
  checkChain([...intermediates, root], field);
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

  const { createdAt, publishedAt } = record;
  return {
    id: record.id,
    kind: 'X509',
    state: record.state,
    tainted: record.tainted,
    field,
    keyType: nameOfKey(publicKeyOf(signing)),
    root,
    intermediates,
    signing,
    dnsConstraints: [root, ...intermediates].flatMap((each) => {
      const constraints = dnsConstraintsOf(each);
      return constraints.ok && constraints.value ? [constraints.value] : [];
    }),
    signingAuthority: signer && signingAuthorityOf(record.id, signer, root, intermediates),
    ...(createdAt === undefined ? {} : { createdAt }),
    ...(publishedAt === undefined ? {} : { publishedAt }),
    warnings,
  };
}

function signingAuthorityOf(
  id: string,
  signer: SigningKey,
  root: CertificateFacts,
  intermediates: readonly CertificateFacts[],
): SigningAuthority {
  const signing = intermediates[0] ?? root;
  const chain = [...intermediates, root];
  return {
    id,
    signer,
    templateFor: leafTemplates({
      issuerDer: signing.subjectDer,
      keyId: signing.keyId,
      algorithmDer: signer.algorithmDer,
    }),
    chainSuffixPem: intermediates.map((each) => encodePem('CERTIFICATE', each.der)).join(''),
    notBefore: Math.max(...chain.map((each) => each.notBefore)),
    notAfter: Math.min(...chain.map((each) => each.notAfter)),
  };
}

function readKey(pem: string, field: string): KeyObject {
  const key = readPrivateKey(pem);
  if (!key.ok) throw new Fault(field, key.reason);
  return key.value;
}

/** The signer of a key outside of the pool; undefined where there is none. Only signatures show whether it is the right one. */
function signerElsewhere(
  record: AuthorityRecord,
  publicKey: KeyObject,
  field: string,
  keysByRef: KeysByRef,
): SigningKey | undefined {
  if (record.keyRef === undefined) return undefined;
  const type = served(field, () => authorityKeyType(publicKey), publicKey);
  const read = keyOfRecord(record, publicKey, type, keysByRef);
  if (!read.ok) throw new Fault(field, read.reason);
  return read.value;
}

/** @throws Fault for a key of a type that is not served. */
function served<T>(field: string, use: () => T, key: KeyObject): T {
  try {
    return use();
  } catch (error) {
    if (!(error instanceof KubespiffeError)) throw error;
    throw new Fault(
      field,
      `is a key of type ${nameOfKey(key)}`,
      `use a CA with a key of one of these types: ${authorityKeyNames.join(', ')}`,
    );
  }
}

function publicKeyOf(certificate: CertificateFacts): KeyObject {
  return createPublicKey({ key: Buffer.from(certificate.spki), format: 'der', type: 'spki' });
}

function readCa(pem: string, field: string): CertificateFacts {
  const der = soleBlock(pem, 'CERTIFICATE');
  if (!der) throw new Fault(field, 'is not one PEM certificate');
  const read = readCertificate(der);
  if (!read.ok) throw new Fault(field, `cannot be read (${read.reason})`);
  const facts = read.value;
  try {
    publicKeyOf(facts);
  } catch {
    throw new Fault(field, 'has a public key that cannot be read');
  }
  if (!facts.isCa) throw new Fault(field, 'is not a CA certificate (basicConstraints CA:true)');
  if (facts.keyUsage && !facts.keyUsage.includes('keyCertSign')) {
    throw new Fault(field, 'has a keyUsage without keyCertSign');
  }
  // Verifiers hold leaves to the purposes of their issuers too, though RFC 5280 does not ask for it.
  const lacking = ['serverAuth', 'clientAuth'].filter((purpose) => !facts.extKeyUsage.includes(purpose));
  const isLimited = facts.extKeyUsage.length > 0 && !facts.extKeyUsage.includes('anyExtendedKeyUsage');
  if (isLimited && lacking.length > 0) {
    throw new Fault(field, `has an extKeyUsage without ${lacking.join(' and ')}, which its leaves need`);
  }
  return facts;
}

/** The chain from the issuer of the leaves to the root: names, signatures, path lengths, a self-signed end. */
function checkChain(chain: readonly CertificateFacts[], field: string): void {
  chain.forEach((certificate, index) => {
    const isRoot = index === chain.length - 1;
    const place = isRoot ? `${field}.certificate` : `${field}.intermediates[${index}]`;
    const issuer = chain[index + 1] ?? certificate;
    const who = isRoot
      ? 'itself, so it is no root'
      : index === chain.length - 2
        ? 'the root'
        : 'the next intermediate';
    if (!isSignedBy(certificate, issuer)) {
      throw new Fault(
        place,
        `is not signed by ${who}`,
        'give the complete chain, with the issuer of the leaf certificates first',
      );
    }
    // RFC 5280 4.2.1.9: how many intermediates may stand between this certificate and a leaf.
    if (certificate.pathLen !== undefined && certificate.pathLen < index) {
      throw new Fault(place, `allows ${certificate.pathLen} intermediates below it, and there are ${index}`);
    }
  });
}

/** What makes OpenSSL or Go refuse every certificate below a CA: unknown critical extensions and name constraints. */
function checkConstraints(
  certificate: CertificateFacts,
  field: string,
  trustDomain: string | undefined,
): string[] {
  const unknown = unprocessedExtensions(certificate);
  if (unknown.length > 0) {
    const what = `has the critical extension ${unknown.join(', ')}, so verifiers refuse what it signs`;
    throw new Fault(field, what, 'use a CA without it');
  }
  if (trustDomain === undefined) {
    const read = dnsConstraintsOf(certificate);
    if (read.ok) return [];
    throw new Fault(field, `${read.reason}, so verifiers refuse what it signs`, 'use a CA without them');
  }
  const constraints = judgeNameConstraints(certificate, trustDomain);
  if (constraints.kind === 'refused') {
    const what = `${constraints.reason}, so verifiers refuse the SPIFFE IDs of ${trustDomain}`;
    throw new Fault(
      field,
      what,
      `use a CA whose name constraints permit ${trustDomain} as the host of a URI`,
    );
  }
  if (constraints.kind === 'none' || constraints.otherKinds.length === 0) return [];
  const kinds = constraints.otherKinds.join(' and ');
  return [`${field}: has nameConstraints for ${kinds} names, which limit such names beside the SPIFFE ID`];
}

/** A signing certificate should be an SVID of the trust domain it issues for (X509-SVID 4.1, 4.2). */
function checkTrustDomain(
  certificate: CertificateFacts,
  field: string,
  trustDomain: string | undefined,
): string[] {
  const expected = trustDomain === undefined ? undefined : `spiffe://${trustDomain}`;
  const ids = certificate.uris.filter((uri) => /^spiffe:/i.test(uri));
  const foreign = ids.find((uri) => uri !== expected);
  if (foreign !== undefined) {
    throw new Fault(
      field,
      `carries the SPIFFE ID ${JSON.stringify(foreign.slice(0, 300))}, and the trust domain is ${trustDomain ?? 'none'}`,
      `use a CA of ${trustDomain ?? 'no trust domain'}; change the trust domain only if it is wrong, since every SPIFFE ID contains it`,
      'PoolTrustDomainMismatch',
    );
  }
  if (ids.length > 1) throw new Fault(field, 'carries its SPIFFE ID more than once');
  return ids.length === 1 || expected === undefined
    ? []
    : [`${field}: carries no SPIFFE ID, so it does not say whose CA it is (${expected})`];
}
