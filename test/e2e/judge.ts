import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../cluster/command.ts';
import type { Judges } from '../judges/judges.ts';
import { type Installation, trustDomain } from './installation.ts';

/** What a pod holds, PEM. */
interface HeldFiles {
  /** The certificate chain, and the private key where it matters. */
  readonly credentials: string;
  readonly roots: string;
}

/**
 * Has go-spiffe, OpenSSL and every clause that `kubespiffe inspect` knows, those that the standards only recommend too,
 * judge the X509-SVID of a pod.
 *
 * @returns the serial number.
 */
export function judgeHeld(
  installation: Pick<Installation, 'controlPlane' | 'kubespiffe'>,
  judges: Judges,
  { id, credentials, roots }: HeldFiles & { readonly id: string },
): Promise<string> {
  return inFiles(installation, { credentials, roots }, async (files) => {
    const verdict = await judges.x509Svid({
      chain: credentials,
      bundles: { [trustDomain]: roots },
      key: credentials,
    });
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.facts.id, id);
    for (const purpose of ['sslserver', 'sslclient']) await verify(files, ['-purpose', purpose]);
    const inspected = async (...args: string[]) =>
      brokenClauses(
        await installation.kubespiffe('inspect', ...args, '--trust-domain', trustDomain, '-o', 'json'),
      );
    assert.deepEqual(await inspected(files.credentials, '--roots', files.roots), []);
    assert.deepEqual(await inspected(files.roots), []);
    return new X509Certificate(leafOf(credentials)).serialNumber;
  });
}

/**
 * Has OpenSSL judge a serving certificate by each DNS name that it should have. It is no X509-SVID, so go-spiffe and the
 * clauses of SPIFFE do not apply. It is not accepted from a client.
 */
export function judgeServer(
  installation: Pick<Installation, 'controlPlane'>,
  { names, ...held }: HeldFiles & { readonly names: readonly string[] },
): Promise<void> {
  return inFiles(installation, held, async (files) => {
    const leaf = new X509Certificate(leafOf(held.credentials));
    assert.equal(leaf.subjectAltName, names.map((name) => `DNS:${name}`).join(', '));
    for (const name of names) await verify(files, ['-purpose', 'sslserver', '-verify_hostname', name]);
    const other = ['-purpose', 'sslserver', '-verify_hostname', `not-${names[0]}`];
    for (const refused of [other, ['-purpose', 'sslclient']]) await assert.rejects(verify(files, refused));
  });
}

type Files = Readonly<Record<keyof HeldFiles, string>>;

async function inFiles<T>(
  { controlPlane }: Pick<Installation, 'controlPlane'>,
  { credentials, roots }: HeldFiles,
  use: (files: Files) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(controlPlane.dir, 'judged-'));
  try {
    const files = { credentials: join(folder, 'credentials.pem'), roots: join(folder, 'roots.pem') };
    await writeFile(files.credentials, credentials);
    await writeFile(files.roots, roots);
    return await use(files);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const verify = ({ credentials, roots }: Files, more: readonly string[]) =>
  runCommand(
    ...(['openssl', 'verify', '-x509_strict', ...more] as const),
    ...['-CAfile', roots, '-untrusted', credentials, credentials],
  );

/** The clauses that something does not fulfil, of what `kubespiffe inspect -o json` says. */
function brokenClauses(inspection: string): string[] {
  const { sections } = JSON.parse(inspection) as {
    sections: {
      title: string;
      findings: { level: string; clause: string; ok: boolean; message: string }[];
    }[];
  };
  assert.ok(
    sections.some(({ findings }) => findings.length > 10),
    'nothing was checked',
  );
  return sections.flatMap(({ title, findings }) =>
    findings
      .filter(({ ok }) => !ok)
      .map(({ level, clause, message }) => `${title}: ${level} ${clause}: ${message}`),
  );
}

/** The first certificate of a credential bundle, whose private key comes before it. */
export function leafOf(credentials: string): string {
  return /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(credentials)?.[0] ?? '';
}
