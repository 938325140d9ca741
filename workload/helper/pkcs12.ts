import type { KeyObject } from 'node:crypto';
import * as asn1js from 'asn1js';
import * as pkijs from 'pkijs';

/** What a PKCS#12 file holds. Certificates are DER. */
export interface Pkcs12Content {
  /** A private key, and its certificate with the intermediates that lead to the root. */
  readonly key?: {
    readonly alias: string;
    readonly privateKey: KeyObject;
    readonly chain: readonly Uint8Array[];
  };
  /** Certificates that Java trusts. */
  readonly trusted?: readonly { readonly alias: string; readonly certificate: Uint8Array }[];
}

const types = {
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  /** Oracle's attribute for a certificate that is trusted. Java ignores certificates without it that belong to no key. */
  trustedKeyUsage: '2.16.840.1.113894.746875.1.1',
  anyExtendedKeyUsage: '2.5.29.37.0',
} as const;

/**
 * Writes a PKCS#12 file (RFC 7292): PBES2 with AES-256-CBC for the key, HMAC with SHA-256 over all. OpenSSL 1.1 and Java 8u301
 * and later read it, Java also as a keystore of type JKS. Certificates are not secret and are not encrypted.
 *
 * @param password what `passwordOf` returns, also beyond ASCII. A longer one gives a key that no one can decrypt, and pkijs removes a
 * byte order mark.
 */
export async function encodePkcs12({ key, trusted = [] }: Pkcs12Content, password: string): Promise<Buffer> {
  const ofKey = key && [attribute(types.localKeyId, octets(Uint8Array.of(1))), friendlyName(key.alias)];
  const safeBags = [
    ...(key ? [safeBag(types.shroudedKeyBag, shroudedKey(key.privateKey, password), ofKey)] : []),
    ...(key?.chain ?? []).map((der, index) => certBag(der, index === 0 ? ofKey : undefined)),
    ...trusted.map(({ alias, certificate }) => {
      const anyUsage = new asn1js.ObjectIdentifier({ value: types.anyExtendedKeyUsage });
      return certBag(certificate, [friendlyName(alias), attribute(types.trustedKeyUsage, anyUsage)]);
    }),
  ];
  const content = octets(new pkijs.SafeContents({ safeBags }).toSchema().toBER());
  const contentInfo = new pkijs.ContentInfo({ contentType: pkijs.ContentInfo.DATA, content });
  const authenticatedSafe = new pkijs.AuthenticatedSafe({ safeContents: [contentInfo] });
  const pfx = new pkijs.PFX({ parsedValue: { integrityMode: 0, authenticatedSafe } });
  await pfx.makeInternalValues({
    password: new TextEncoder().encode(password).buffer,
    // What keytool uses for the MAC.
    iterations: 10_000,
    pbkdf2HashAlgorithm: { name: 'SHA-256' },
    hmacHashAlgorithm: 'SHA-256',
  });
  return Buffer.from(pfx.toSchema().toBER());
}

const octets = (valueHex: ArrayBuffer | Uint8Array) => new asn1js.OctetString({ valueHex });
const attribute = (type: string, value: asn1js.AsnType) => new pkijs.Attribute({ type, values: [value] });
const friendlyName = (value: string) => attribute(types.friendlyName, new asn1js.BmpString({ value }));

const safeBag = (
  bagId: string,
  bagValue: pkijs.SafeBag['bagValue'],
  bagAttributes: pkijs.Attribute[] | undefined,
) => new pkijs.SafeBag({ bagId, bagValue, ...(bagAttributes && { bagAttributes }) });

const certBag = (der: Uint8Array, attributes: pkijs.Attribute[] | undefined) =>
  safeBag(
    types.certBag,
    new pkijs.CertBag({ certId: pkijs.id_CertBag_X509Certificate, certValue: octets(der) }),
    attributes,
  );

/** PBES2 takes the password as UTF-8, as Java and OpenSSL do. Node.js has no option for the 2,048 iterations of OpenSSL's default. */
const shroudedKey = (key: KeyObject, passphrase: string) =>
  pkijs.PKCS8ShroudedKeyBag.fromBER(
    key.export({ type: 'pkcs8', format: 'der', cipher: 'aes-256-cbc', passphrase }),
  );
