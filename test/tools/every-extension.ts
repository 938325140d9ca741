import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What OpenSSL is asked for, and the text that `inspect` shows for it. */
export const extensionRows: readonly [request: string, shown: string][] = [
  ['basicConstraints=critical,CA:true,pathlen:2', 'basicConstraints (critical): CA, path length 2'],
  ['keyUsage=critical,keyCertSign,cRLSign', 'keyUsage (critical): keyCertSign, cRLSign'],
  ['extendedKeyUsage=serverAuth,1.2.3.4', 'extKeyUsage: serverAuth, 1.2.3.4'],
  ['subjectKeyIdentifier=ABCDEF01', 'subjectKeyIdentifier: AB:CD:EF:01'],
  [
    'subjectAltName=@names',
    'subjectAltName: URI:spiffe://example.org, DNS:a.example.org, email:m@example.org, IP:192.0.2.1, IP:2001:db8::1, ' +
      'registered ID:1.2.3.4, directory:O=sub, other:1.3.6.1.4.1.311.20.2.3=user@example.org',
  ],
  ['issuerAltName=URI:https://id.example.org', 'issuerAltName: URI:https://id.example.org'],
  [
    'nameConstraints=critical,permitted;URI:example.org,permitted;DNS:.example.org,excluded;IP:192.0.2.0/255.255.255.0',
    'nameConstraints (critical): permitted URI:example.org, DNS:.example.org; excluded IP:192.0.2.0/255.255.255.0',
  ],
  [
    'certificatePolicies=2.5.29.32.0,@policy',
    'certificatePolicies: anyPolicy, 1.3.5.8 (http://cps.example.org)',
  ],
  [
    'crlDistributionPoints=URI:http://crl.example.org/a.crl',
    'cRLDistributionPoints: URI:http://crl.example.org/a.crl',
  ],
  [
    'authorityInfoAccess=OCSP;URI:http://ocsp.example.org,caIssuers;URI:http://ca.example.org',
    'authorityInfoAccess: OCSP URI:http://ocsp.example.org, caIssuers URI:http://ca.example.org',
  ],
  [
    'policyConstraints=requireExplicitPolicy:0,inhibitPolicyMapping:1',
    'policyConstraints: requireExplicitPolicy 0, inhibitPolicyMapping 1',
  ],
  ['policyMappings=1.3.5.8:1.3.5.9', 'policyMappings: 1.3.5.8 as 1.3.5.9'],
  ['inhibitAnyPolicy=3', 'inhibitAnyPolicy: 3'],
  ['nsComment=made by hand', 'nsComment: made by hand'],
  ['1.2.3.4.5=ASN1:UTF8String:some text', '1.2.3.4.5: some text'],
  ['1.2.3.4.6=critical,DER:3003020105', '1.2.3.4.6 (critical): (5 bytes: 3003020105)'],
  ['1.2.3.4.7=DER:30', '1.2.3.4.7: (unreadable, 1 bytes)'],
];

const sections = `
[policy]
policyIdentifier=1.3.5.8
CPS.1=http://cps.example.org
[sub]
O=sub
[names]
URI.1=spiffe://example.org
DNS.1=a.example.org
email.1=m@example.org
IP.1=192.0.2.1
IP.2=2001:db8::1
RID.1=1.2.3.4
dirName.1=sub
otherName.1=1.3.6.1.4.1.311.20.2.3;UTF8:user@example.org
`;

/** A CA certificate and a request with all of these extensions, in PEM, as OpenSSL makes them. */
export function everyExtension(): { readonly certificate: string; readonly request: string } {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-extensions-'));
  try {
    const extensions = extensionRows.map(([request]) => request).join('\n');
    const head =
      '[req]\ndistinguished_name=name\nprompt=no\n[name]\nO=example, Inc.\nCN=a+b\n1.OU=one\n2.+OU=two\n';
    writeFileSync(join(folder, 'config'), `${head}[extensions]\n${extensions}\n${sections}`);
    const make = (kind: readonly string[]): string => {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key'];
      const words = ['req', ...kind, 'extensions', ...key, '-config', 'config', '-out', 'out'];
      execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' });
      return readFileSync(join(folder, 'out'), 'utf8');
    };
    return {
      certificate: make(['-x509', '-days', '1', '-extensions']),
      request: make(['-new', '-reqexts']),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
