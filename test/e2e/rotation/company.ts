import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../cluster/command.ts';
import type { Installation } from '../installation.ts';

const p256 = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const critical = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign'];
/** RFC 5280 4.2.1.1 demands an authorityKeyIdentifier. OpenSSL demands it with -x509_strict, which is how Python 3.13 asks it. */
const withoutIssuerKey = [
  ...['basicConstraints=critical,CA:true,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign'],
  ...['subjectKeyIdentifier=hash', 'authorityKeyIdentifier=none', 'subjectAltName=URI:spiffe://example.org'],
];

/** Certificates of a company PKI, PEM files. */
export interface CompanyCa {
  readonly root: string;
  readonly issuing: string;
}

/** Adds the CA `company` to the pool. Its certificate is one of a company PKI that some TLS libraries refuse. */
export async function addCompanyCa({ controlPlane, kubespiffe }: Installation): Promise<CompanyCa> {
  const file = (name: string) => join(controlPlane.dir, name);
  const [root, rootKey, request, extensions, issuing] = [
    ...['root.pem', 'root.key', 'issuing.csr', 'issuing.ext', 'issuing.pem'].map(file),
  ] as [string, string, string, string, string];
  const addExtensions = critical.flatMap((each) => ['-addext', each]);
  const name = ['-subj', '/O=Company/CN=Root', '-days', '3650'];
  await runCommand(
    'openssl',
    'req',
    '-x509',
    ...p256,
    ...name,
    ...addExtensions,
    '-keyout',
    rootKey,
    '-out',
    root,
  );
  await writeFile(request, await kubespiffe('ca', 'csr', '--ca-id', 'company'));
  await writeFile(extensions, withoutIssuerKey.join('\n'));
  const signer = ['-CA', root, '-CAkey', rootKey, '-CAcreateserial', '-days', '365'];
  await runCommand(
    'openssl',
    'x509',
    '-req',
    '-in',
    request,
    ...signer,
    '-extfile',
    extensions,
    '-out',
    issuing,
  );
  await kubespiffe('ca', 'import', '--request', 'company', '--cert', issuing, '--chain', root);
  return { root, issuing };
}
