import * as asn1js from 'asn1js';
import * as pkijs from 'pkijs';
import { type Extension, keyUsageBits } from '../../spiffe/pki/extensions.ts';
import { nameOfOid, oids } from '../../spiffe/pki/oid.ts';
import type { Seconds } from '../../spiffe/pki/time.ts';
import { colons } from '../output.ts';
import { distinguishedName, elementsOf, generalName, generalNames, octetsOf, valueText } from './names.ts';

/** An extension, for people. */
export interface ShownExtension {
  /** Its usual name, or the object identifier again. */
  readonly name: string;
  readonly oid: string;
  readonly critical: boolean;
  readonly value: string;
}

/** A certificate, for people. Names are distinguished names in one line; `(empty)` for one without parts. */
export interface ShownCertificate {
  readonly uris: readonly string[];
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Seconds;
  readonly notAfter: Seconds;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** What basicConstraints says. Undefined where it is missing, as in version 1. */
  readonly isCa: boolean | undefined;
  readonly signature: string;
  readonly serialHex: string;
  readonly extensions: ShownExtension[];
}

/**
 * Shows what certificates and requests contain. It decides nothing: the strict reader of `spiffe/pki` does, so what that
 * one refuses or does not know can still be shown. Never throws: what cannot be read, or is too long, is undefined.
 */
export interface Contents {
  certificate(der: Uint8Array): ShownCertificate | undefined;
  extensions(list: readonly Extension[]): ShownExtension[];
  /** What a PKCS#10 request (DER) asks for. */
  request(der: Uint8Array): Pick<ShownCertificate, 'subject' | 'spki' | 'extensions'> | undefined;
}

/** What is read of one certificate or request: enough for all in use. The library takes 0.4 s for the worst of them. */
const maxBytes = 64 * 1024;
/** What is read in all: about 2,500 certificates, whose extensions are read again. The library takes 10 s for the worst content. */
const maxTotalBytes = 2 * 1024 * 1024;
/** What is shown of one value: about 60 names. */
const maxCharacters = 4000;
const limits = { maxDepth: 32, maxNodes: 4000, maxContentLength: maxBytes, parseEmbedded: false };

/** Makes what one inspection shows its certificates with. */
export function createContents(): Contents {
  let leftBytes = maxTotalBytes;

  function shown<T>(der: Uint8Array, show: (element: asn1js.AsnType) => T, otherwise: (why: string) => T): T {
    if (der.length > Math.min(maxBytes, leftBytes)) return otherwise(`(${der.length} bytes, not shown)`);
    leftBytes -= der.length;
    try {
      const { offset, result } = asn1js.fromBER(der, limits);
      if (offset === der.length) return show(result);
    } catch {
      // What the library makes of content that is not of the expected form differs; it is all the same here.
    }
    return otherwise(`(unreadable, ${der.length} bytes)`);
  }

  const unreadable = () => undefined;
  const extensions = (list: readonly Extension[]) =>
    list.map(({ oid, critical, value }) => {
      const text = shown(value, extensionTexts[oid] ?? valueText, (why) => why);
      return { name: nameOfOid(oid), oid, critical, value: shortened(text) };
    });
  return {
    extensions,
    certificate: (der) =>
      shown(
        der,
        (schema) => {
          const certificate = new pkijs.Certificate({ schema });
          const list = (certificate.extensions ?? []).map(plainExtension);
          const names = list.find(({ oid }) => oid === oids.subjectAltName);
          const constraints = list.find(({ oid }) => oid === oids.basicConstraints);
          return {
            uris: names ? shown(names.value, urisOf, () => []) : [],
            subject: nameText(certificate.subject),
            issuer: nameText(certificate.issuer),
            notBefore: secondsOf(certificate.notBefore),
            notAfter: secondsOf(certificate.notAfter),
            spki: derOf(certificate.subjectPublicKeyInfo),
            isCa: constraints && shown(constraints.value, isCaOf, unreadable),
            signature: nameOfOid(certificate.signatureAlgorithm.algorithmId),
            serialHex: Buffer.from(octetsOf(certificate.serialNumber))
              .toString('hex')
              .replace(/^00(?=.)/, ''),
            extensions: extensions(list),
          };
        },
        unreadable,
      ),
    request: (der) =>
      shown(
        der,
        (schema) => {
          const { subject, subjectPublicKeyInfo, attributes } = new pkijs.CertificationRequest({ schema });
          const [wanted] = attributes?.find(({ type }) => type === extensionRequest)?.values ?? [];
          const list = wanted ? new pkijs.Extensions({ schema: wanted }).extensions : [];
          return {
            subject: nameText(subject),
            spki: derOf(subjectPublicKeyInfo),
            extensions: extensions(list.map(plainExtension)),
          };
        },
        unreadable,
      ),
  };
}

/** PKCS#9 5.4.2: the attribute of a request with the extensions that it asks for. */
const extensionRequest = '1.2.840.113549.1.9.14';

const plainExtension = ({ extnID, critical, extnValue }: pkijs.Extension): Extension => ({
  oid: extnID,
  name: nameOfOid(extnID),
  critical,
  value: octetsOf(extnValue),
});

const shortened = (text: string): string =>
  text.length > maxCharacters ? `${text.slice(0, maxCharacters)}… (${text.length} characters)` : text;

const nameText = (name: pkijs.RelativeDistinguishedNames): string =>
  shortened(distinguishedName(name.toSchema())) || '(empty)';

const derOf = (key: pkijs.PublicKeyInfo): Uint8Array => new Uint8Array(key.toSchema().toBER());

const urisOf = (schema: asn1js.AsnType): string[] =>
  generalNames(schema).flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));

const isCaOf = (schema: asn1js.AsnType): boolean | undefined => new pkijs.BasicConstraints({ schema }).cA;

function secondsOf({ value }: pkijs.Time): Seconds {
  const time = value.getTime();
  if (Number.isNaN(time)) throw new Error('a time that is no date');
  return Math.floor(time / 1000);
}

/** Ours (KEP-4317): the library does not know it. */
function podText(schema: asn1js.AsnType): string {
  const texts = elementsOf(schema).map((field) => Buffer.from(octetsOf(field)).toString());
  const [namespace, , account, accountUID, pod, podUID, node, nodeUID] = texts;
  if (texts.length !== 8) throw new Error('a pod with other fields');
  return `pod ${namespace}/${pod} (${podUID}), ServiceAccount ${account} (${accountUID}), node ${node} (${nodeUID})`;
}

const numbered = (name: string, value: unknown): string[] =>
  value === undefined ? [] : [`${name} ${value}`];

const subtrees = (name: string, list: readonly pkijs.GeneralSubtree[] | undefined): string[] =>
  list?.length ? [`${name} ${list.map(({ base }) => generalName(base)).join(', ')}`] : [];

function crlText({ distributionPoint }: pkijs.DistributionPoint): string {
  if (Array.isArray(distributionPoint)) return distributionPoint.map(generalName).join(', ');
  return distributionPoint ? distinguishedName(distributionPoint.toSchema()) : '(no name)';
}

const cps = '1.3.6.1.5.5.7.2.1';

function policyText({ policyIdentifier, policyQualifiers }: pkijs.PolicyInformation): string {
  const texts = policyQualifiers?.filter(({ policyQualifierId }) => policyQualifierId === cps) ?? [];
  const suffix = texts.map(({ qualifier }) => valueText(qualifier as asn1js.AsnType)).join(', ');
  return suffix === '' ? nameOfOid(policyIdentifier) : `${nameOfOid(policyIdentifier)} (${suffix})`;
}

const crlsText = (schema: asn1js.AsnType) =>
  new pkijs.CRLDistributionPoints({ schema }).distributionPoints.map(crlText).join(', ');
const accessText = (schema: asn1js.AsnType) =>
  new pkijs.InfoAccess({ schema }).accessDescriptions
    .map(({ accessMethod, accessLocation }) => `${nameOfOid(accessMethod)} ${generalName(accessLocation)}`)
    .join(', ');
const namesText = (schema: asn1js.AsnType) => generalNames(schema).join(', ');

/** The values of the extensions of RFC 5280 4.2 as text. Each throws where the value is not of that form. */
const extensionTexts: Readonly<Record<string, (schema: asn1js.AsnType) => string>> = {
  [oids.podIdentity]: podText,
  [oids.subjectAltName]: namesText,
  [oids.issuerAltName]: namesText,
  [oids.basicConstraints](schema) {
    const { cA, pathLenConstraint } = new pkijs.BasicConstraints({ schema });
    return [cA ? 'CA' : 'not a CA', ...numbered('path length', pathLenConstraint)].join(', ');
  },
  [oids.keyUsage](bits) {
    const octets = octetsOf(bits);
    return keyUsageBits.filter((_, bit) => (octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))).join(', ');
  },
  [oids.extKeyUsage]: (schema) => new pkijs.ExtKeyUsage({ schema }).keyPurposes.map(nameOfOid).join(', '),
  [oids.subjectKeyIdentifier]: (octets) => hexText(octets),
  [oids.authorityKeyIdentifier](schema) {
    const { keyIdentifier, authorityCertIssuer, authorityCertSerialNumber } =
      new pkijs.AuthorityKeyIdentifier({ schema });
    return [
      ...(keyIdentifier ? [hexText(keyIdentifier)] : []),
      ...(authorityCertIssuer ?? []).map((each) => `issuer ${generalName(each)}`),
      ...(authorityCertSerialNumber ? [`serial ${hexText(authorityCertSerialNumber)}`] : []),
    ].join(', ');
  },
  [oids.nameConstraints](schema) {
    const { permittedSubtrees, excludedSubtrees } = new pkijs.NameConstraints({ schema });
    return [...subtrees('permitted', permittedSubtrees), ...subtrees('excluded', excludedSubtrees)].join(
      '; ',
    );
  },
  [pkijs.id_CertificatePolicies]: (schema) =>
    new pkijs.CertificatePolicies({ schema }).certificatePolicies.map(policyText).join(', '),
  [pkijs.id_PolicyMappings]: (schema) =>
    new pkijs.PolicyMappings({ schema }).mappings
      .map(({ issuerDomainPolicy, subjectDomainPolicy }) => `${issuerDomainPolicy} as ${subjectDomainPolicy}`)
      .join(', '),
  [pkijs.id_PolicyConstraints](schema) {
    const { requireExplicitPolicy, inhibitPolicyMapping } = new pkijs.PolicyConstraints({ schema });
    return [
      ...numbered('requireExplicitPolicy', requireExplicitPolicy),
      ...numbered('inhibitPolicyMapping', inhibitPolicyMapping),
    ].join(', ');
  },
  [pkijs.id_CRLDistributionPoints]: crlsText,
  [pkijs.id_FreshestCRL]: crlsText,
  [pkijs.id_AuthorityInfoAccess]: accessText,
  [pkijs.id_SubjectInfoAccess]: accessText,
};

const hexText = (element: asn1js.AsnType): string => colons(Buffer.from(octetsOf(element)).toString('hex'));
