import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { encodePem } from '../../spiffe/pki/pem.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, type TestCa } from '../spiffe/pki/authorities.ts';
import { makeKey, supportedKey, type TestKeyName } from '../spiffe/pki/keys.ts';

export interface Credentials {
  readonly keyPem: string;
  readonly chainPem: string;
  /** Key and chain, as kubelet writes them to `credentialBundlePath`. */
  readonly pem: string;
}

/** Key and X509-SVID, signed by the first CA, whose issuers follow. Times in seconds from now. */
export async function credentialsFor(
  uris: string | readonly string[],
  ca: TestCa | readonly [TestCa, ...TestCa[]],
  {
    from = -120,
    to = 3_600,
    keyName = 'ECDSA P-256' as TestKeyName,
    extKeyUsage = svidProfile.extKeyUsage,
  } = {},
): Promise<Credentials> {
  const [signing, ...issuers] = Array.isArray(ca) ? (ca as [TestCa, ...TestCa[]]) : [ca as TestCa];
  const key = makeKey(keyName);
  const now = Math.floor(Date.now() / 1000);
  const { chainPem } = await issueLeaf({
    authority: authorityOf(signing as TestCa, ...issuers),
    profile: { ...svidProfile, extKeyUsage },
    subject: { uris: typeof uris === 'string' ? [uris] : uris, dnsNames: ['localhost'] },
    key: supportedKey(key.spki),
    validity: { notBefore: now + from, notAfter: now + to },
    serial: makeSerial(randomBytes),
  });
  const keyPem = encodePem('PRIVATE KEY', key.privateKey.export({ type: 'pkcs8', format: 'der' }));
  return { keyPem, chainPem, pem: keyPem + chainPem };
}

/** The steps in which kubelet replaces the content of a volume (pkg/volume/util/atomic_writer.go), one after another. */
export function* swapSteps(volume: string, files: Readonly<Record<string, string>>): Generator<void> {
  const data = join(volume, '..data');
  const old = existsSync(data) ? readlinkSync(data) : undefined;
  const fresh = mkdtempSync(join(volume, '..2026_11_29_'));
  // The group of the volume goes on to what is in it, as with `fsGroup`.
  chmodSync(fresh, 0o2755);
  yield;
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(fresh, name), content);
    yield;
  }
  symlinkSync(basename(fresh), join(volume, '..data_tmp'));
  yield;
  renameSync(join(volume, '..data_tmp'), data);
  yield;
  for (const name of Object.keys(files)) {
    const link = join(volume, name);
    if (!existsSync(link)) symlinkSync(join('..data', name), link);
  }
  if (old === undefined) return;
  for (const name of readdirSync(join(volume, old))) {
    rmSync(join(volume, old, name));
    yield;
  }
  rmdirSync(join(volume, old));
}

/** Replaces the content of a volume as kubelet does. */
export function swap(volume: string, files: Readonly<Record<string, string>>): void {
  for (const _ of swapSteps(volume, files));
}

/** A volume that kubelet has filled, in a folder of the test. */
export function newVolume(parent: string, files: Readonly<Record<string, string>>): string {
  const volume = mkdtempSync(join(parent, 'volume-'));
  swap(volume, files);
  return volume;
}
