import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A token of SoftHSM2, of Debian: a PKCS#11 module as hardware has one, with its keys in a folder. */
export interface SoftHsm {
  readonly module: string;
  readonly pinFile: string;
  readonly folder: string;
  /** The PIN of the token `kubespiffe`. */
  readonly pin: string;
  writePin(pin: string): void;
  /** The serial number of the token. */
  serial(): string;
  /** Puts a private key (PKCS#8 PEM) with its public half into the token. */
  put(label: string, pkcs8Pem: string, id: string): void;
  /** How its module behaves from now on, by a word of moody-module.c. */
  setMood(mood: 'well' | 'locked' | 'removed' | 'slow' | 'hangs' | 'crashes'): void;
  /** Puts so many copies of a private key into the token. */
  fill(label: string, pkcs8Pem: string, objects: number): void;
  remove(): void;
}

const headers = join(import.meta.dirname, '../../key-backends/node_modules/pkcs11js/includes/pkcs11');

/** Whether SoftHSM2 is there, and the binding for it (scripts/key-backends.sh). */
export function isSoftHsmInstalled(): boolean {
  return existsSync(headers) && existsSync('/usr/lib/softhsm/libsofthsm2.so');
}

/** Makes a token with the label `kubespiffe`, and lets this process and its children find it. */
export function makeSoftHsm(): SoftHsm {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-hsm-'));
  const [tokens, config, pinFile, module, mood] = ['tokens', 'softhsm2.conf', 'pin', 'module.so', 'mood'].map(
    (name) => join(folder, name),
  ) as [string, string, string, string, string];
  mkdirSync(tokens);
  writeFileSync(config, `directories.tokendir = ${tokens}\nlog.level = ERROR\n`);
  const source = join(import.meta.dirname, 'moody-module.c');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-I', headers, source, '-o', module, '-ldl']);
  process.env.SOFTHSM2_CONF = config;
  process.env.MOODY_MODULE = mood;
  const run = (...args: string[]) => execFileSync('softhsm2-util', args, { stdio: 'pipe' });
  const pin = '24816';
  run('--init-token', '--free', '--label', 'kubespiffe', '--so-pin', '135790', '--pin', pin);
  const writePin = (text: string) => writeFileSync(pinFile, `${text}\n`);
  writePin(pin);
  function put(label: string, pkcs8Pem: string, id: string): void {
    const file = join(folder, `${label}.pem`);
    writeFileSync(file, pkcs8Pem);
    run('--import', file, '--token', 'kubespiffe', '--label', label, '--id', id, '--pin', pin);
    rmSync(file);
  }
  return {
    ...{ module, pinFile, folder, pin, writePin, put },
    // SoftHSM2 gives a new token a serial number of its own.
    serial: () => /Serial number:\s+([0-9a-f]{16})/.exec(run('--show-slots').toString())?.[1] ?? '',
    setMood: (word) => writeFileSync(mood, word),
    fill(label, pkcs8Pem, objects) {
      const [token = ''] = readdirSync(tokens).map((name) => join(tokens, name));
      const before = new Set(readdirSync(token));
      put(label, pkcs8Pem, 'ff');
      const added = readdirSync(token).find((name) => name.endsWith('.object') && !before.has(name));
      for (let count = 1; count < objects; count += 1) {
        const file = join(token, randomUUID());
        copyFileSync(join(token, String(added)), `${file}.object`);
        writeFileSync(`${file}.lock`, '');
      }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
