import { type ChildProcess, fork } from 'node:child_process';
import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { bitString, objectIdentifier, sequence } from '../../spiffe/pki/der-writer.ts';
import { derFromJoined } from '../../spiffe/pki/ecdsa-signature.ts';
import { oids } from '../../spiffe/pki/oid.ts';
import type { KeyName } from './key-ref.ts';
import type { Opener, OpenKey } from './open-key.ts';
import type { Call, PublicHalf, Reply } from './pkcs11-process.ts';

export interface Pkcs11Settings {
  /** Path of the PKCS#11 module. */
  readonly module: string | undefined;
  /** Path of the file with the PIN of the user; undefined for tokens without a login. */
  readonly pinFile: string | undefined;
  /** How many signatures of a key are under way at once: so many sessions and threads. */
  readonly concurrency: number;
  /** For the module, which may be configured by variables of its own. */
  readonly env: NodeJS.ProcessEnv;
}

/** What the commonest errors mean. All others are named as PKCS#11 names them. */
const meanings: Readonly<Record<string, string>> = {
  CKR_PIN_INCORRECT: 'the token refuses the PIN',
  CKR_PIN_LEN_RANGE: 'the token refuses the PIN, since it has the wrong length',
  CKR_PIN_INVALID: 'the token refuses the PIN, since it has characters that it does not allow',
  CKR_PIN_LOCKED: 'the PIN of the token is locked, and its security officer must set a new one',
  CKR_PIN_EXPIRED: 'the PIN of the token has expired, and a new one must be set',
  CKR_USER_PIN_NOT_INITIALIZED: 'the token has no PIN for its user yet',
  CKR_TOKEN_NOT_PRESENT: 'the token is not there any more',
  CKR_DEVICE_REMOVED: 'the token was removed',
  CKR_DEVICE_ERROR: 'the device reports an error',
  CKR_USER_NOT_LOGGED_IN: 'the token demands a PIN: set pkcs11PinFile',
  CKR_KEY_FUNCTION_NOT_PERMITTED: 'the key may not be used to sign (CKA_SIGN)',
  CKR_MECHANISM_INVALID: 'the token does not sign with this kind of key',
};

/** A PIN that is wrong again and again locks the token. */
const aboutPin = new Set(['CKR_PIN_INCORRECT', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_INVALID', 'CKR_PIN_LOCKED']);

/** Opens keys of PKCS#11 tokens, each in a process of its own. */
export function pkcs11Opener({ module, pinFile, concurrency, env }: Pkcs11Settings): Opener {
  // By the serial number of the token, since references may name one token in several ways.
  /** The SHA-256 of the PIN that it refused. */
  const refused = new Map<string, string>();
  /** Settles when the last key has been opened or has failed. Several at once would each try a wrong PIN. */
  const turns = new Map<string, Promise<unknown>>();

  function inTurn<T>(serial: string, work: () => Promise<T>): Promise<T> {
    const done = (turns.get(serial) ?? Promise.resolve()).then(work);
    turns.set(
      serial,
      done.catch(() => undefined),
    );
    return done;
  }

  return async (ref, signal) => {
    if (ref.backend !== 'pkcs11') throw new Error(`${ref.uri} is not a key of a PKCS#11 token`);
    if (module === undefined) throw new Error('the setting pkcs11Module is not set');
    signal.throwIfAborted();
    const child = startProcess(concurrency, env);
    signal.addEventListener('abort', () => child.kill(), { once: true });
    try {
      const serial = String(await child.call({ call: 'findToken', module, token: ref.token }));
      await inTurn(serial, () => logIn(child, serial, ref.key, signal));
      return keyOf(child);
    } catch (error) {
      child.kill();
      signal.throwIfAborted();
      throw error;
    }
  };

  async function logIn(
    child: ReturnType<typeof startProcess>,
    serial: string,
    key: KeyName,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    const pin = pinFile === undefined ? undefined : await readPin(pinFile);
    const pinDigest = pin === undefined ? undefined : hash('sha256', pin);
    if (pinDigest !== undefined && refused.get(serial) === pinDigest) {
      throw new Error(`the token has refused the PIN of ${pinFile}: it is not tried again before it changes`);
    }
    try {
      await child.call({ call: 'openKey', pin, key, sessions: concurrency });
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (pinDigest !== undefined && aboutPin.has(code)) refused.set(serial, pinDigest);
      throw error;
    }
    refused.delete(serial);
  }
}

function keyOf(child: ReturnType<typeof startProcess>): OpenKey {
  return {
    async sign(digest, algorithm) {
      const kind = algorithm.keyType === 'ec' ? 'ec' : 'rsa';
      const digestName = algorithm.digest ?? 'sha512';
      const signature = (await child.call({ call: 'sign', kind, digestName, digest })) as Uint8Array;
      return kind === 'ec' ? derFromJoined(signature) : signature;
    },
    publicKey: async () => readPublicHalf((await child.call({ call: 'publicKey' })) as PublicHalf),
    close: child.kill,
  };
}

/** PINs end where the line does. */
async function readPin(path: string): Promise<string> {
  const pin = (await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`the file ${path} of pkcs11PinFile cannot be read (${error.code})`);
  })) as string;
  const [line = ''] = pin.split(/\r?\n/);
  if (line === '') throw new Error(`the file ${path} of pkcs11PinFile holds no PIN`);
  return line;
}

/** The process has as many threads as sessions: a module waits for its device on them. */
function startProcess(threads: number, env: NodeJS.ProcessEnv) {
  const child: ChildProcess = fork(new URL('./pkcs11-process.ts', import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    env: { ...env, UV_THREADPOOL_SIZE: String(threads) },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  let last = 0;
  let ended: string | undefined;
  const end = (reason: string) => {
    ended ??= reason;
    for (const each of open.values()) each.reject(new Error(ended));
    open.clear();
  };
  child.on('message', (reply: Reply) => {
    const waiting = open.get(reply.id);
    open.delete(reply.id);
    if (reply.ok) return waiting?.resolve(reply.value);
    const { code, reason } = reply;
    const meaning = code === undefined ? undefined : meanings[code];
    const message = meaning ? `${meaning} (${code})` : (code ?? reason);
    waiting?.reject(Object.assign(new Error(message), { code }));
  });
  child.on('exit', (code, signal) =>
    end(`the process of the PKCS#11 module ended (${signal ?? `exit code ${code}`})`),
  );
  child.on('error', (error) => end(`the process of the PKCS#11 module cannot be used (${error.message})`));
  return {
    call(call: WithoutId<Call>): Promise<unknown> {
      if (ended !== undefined) return Promise.reject(new Error(ended));
      last += 1;
      const waiting = Promise.withResolvers<unknown>();
      open.set(last, waiting);
      child.send({ ...call, id: last } as Call, (error) => error && end(error.message));
      return waiting.promise;
    },
    /** A module that hangs answers to nothing else. */
    kill() {
      end('the key was closed');
      child.kill('SIGKILL');
    },
  };
}

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;

/**
 * CKA_EC_POINT is an OCTET STRING, and in some modules the point itself. CKA_EC_PARAMS are part of an SPKI as they are; a JWK
 * would need the name of the curve, and knows fewer curves than the message about one that is not served has to name.
 */
function readPublicHalf(half: PublicHalf): KeyObject {
  if (half.kind === 'rsa') {
    const text = (number: Uint8Array) => Buffer.from(number).toString('base64url');
    const key = { kty: 'RSA', n: text(half.modulus), e: text(half.exponent) };
    return createPublicKey({ key, format: 'jwk' });
  }
  const isBare = half.point[0] === 0x04 && half.point[1] !== half.point.length - 2;
  const point = isBare ? half.point : half.point.subarray(2);
  const spki = sequence(sequence(objectIdentifier(oids.ecPublicKey), half.params), bitString(point));
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
}
