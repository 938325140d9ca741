// The process that holds a key of a PKCS#11 token: `pkcs11.ts` starts one for each key. The module is foreign native
// code, which may hang or crash; here it takes down nothing else, and can be killed.

import { tags } from '../../spiffe/pki/der.ts';
import { derNull, encode, objectIdentifier, sequence } from '../../spiffe/pki/der-writer.ts';
import { oids } from '../../spiffe/pki/oid.ts';
import type { KeyName, TokenName } from './key-ref.ts';
import { loadPackage } from './load-package.ts';
import type { Pkcs11, Pkcs11Package } from './pkcs11-package.ts';

export type Call =
  /** Loads the module. Answers with the serial number of the token. */
  | {
      readonly call: 'findToken';
      readonly id: number;
      readonly module: string;
      readonly token: TokenName;
    }
  | {
      readonly call: 'openKey';
      readonly id: number;
      readonly pin: string | undefined;
      readonly key: KeyName;
      /** How many signatures are under way at once. */
      readonly sessions: number;
    }
  | { readonly call: 'publicKey'; readonly id: number }
  | {
      readonly call: 'sign';
      readonly id: number;
      readonly kind: 'ec' | 'rsa';
      readonly digestName: 'sha256' | 'sha384' | 'sha512';
      readonly digest: Uint8Array;
    };

/** `code` is that of PKCS#11, such as CKR_PIN_INCORRECT. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly reason: string; readonly code: string | undefined };

/** A public key as a token has it: CKA_EC_POINT and CKA_EC_PARAMS, or CKA_MODULUS and CKA_PUBLIC_EXPONENT. */
export type PublicHalf =
  | { readonly kind: 'ec'; readonly point: Uint8Array; readonly params: Uint8Array }
  | { readonly kind: 'rsa'; readonly modulus: Uint8Array; readonly exponent: Uint8Array };

/** Room for a signature of RSA 8192. */
const signatureBytes = 1024;

interface Module {
  readonly pkcs11: Pkcs11;
  readonly names: Pkcs11Package;
  /** The slot of the token. */
  readonly slot: Buffer;
}

interface Opened extends Module {
  readonly free: Buffer[];
  readonly key: Buffer;
  readonly name: KeyName;
}

let loaded: Module | undefined;
let opened: Opened | undefined;

function findToken({ module, token }: Extract<Call, { call: 'findToken' }>): string {
  const names = loadPackage('pkcs11js') as Pkcs11Package;
  const pkcs11 = new names.PKCS11();
  pkcs11.load(module);
  pkcs11.C_Initialize({ flags: names.CKF_OS_LOCKING_OK });
  loaded = { pkcs11, names, slot: slotOf(pkcs11, token) };
  return trimmed(pkcs11.C_GetTokenInfo(loaded.slot).serialNumber);
}

function openKey(found: Module, { pin, key, sessions }: Extract<Call, { call: 'openKey' }>): Opened {
  const { pkcs11, names, slot } = found;
  const first = pkcs11.C_OpenSession(slot, names.CKF_SERIAL_SESSION);
  if (pin !== undefined) logIn(found, first, pin);
  const privateKey = find(found, first, names.CKO_PRIVATE_KEY, key);
  const others = Array.from({ length: sessions - 1 }, () =>
    pkcs11.C_OpenSession(slot, names.CKF_SERIAL_SESSION),
  );
  return { ...found, free: [first, ...others], key: privateKey, name: key };
}

/** Modules fill up texts with blanks or NULs. */
function trimmed(text: string): string {
  return text.replace(/[\0 ]+$/, '');
}

/** A name as a reference has it. */
function written(name: TokenName | KeyName): string {
  return Object.entries(name)
    .map(([attribute, value]) => `${attribute}=${value}`)
    .join(';');
}

/** The slot with the token. */
function slotOf(pkcs11: Pkcs11, wanted: TokenName): Buffer {
  const { token, serial } = wanted;
  const slots = pkcs11.C_GetSlotList(true).filter((slot) => {
    const info = pkcs11.C_GetTokenInfo(slot);
    return (
      (token === undefined || trimmed(info.label) === token) &&
      (serial === undefined || trimmed(info.serialNumber) === serial)
    );
  });
  const [slot, another] = slots;
  const name = written(wanted);
  if (!slot) throw new Error(`the module shows no token with ${name}`);
  if (another) throw new Error(`the module shows ${slots.length} tokens with ${name}: name it by serial=…`);
  return slot;
}

function logIn({ pkcs11, names, slot }: Module, session: Buffer, pin: string): void {
  const { flags } = pkcs11.C_GetTokenInfo(slot);
  if (flags & names.CKF_USER_PIN_LOCKED) throw Object.assign(new Error('CKR_PIN_LOCKED'), { code: 164 });
  pkcs11.C_Login(session, names.CKU_USER, pin);
}

/** The one object of a class with a name. */
function find({ pkcs11, names }: Module, session: Buffer, objectClass: number, wanted: KeyName): Buffer {
  const { object, id } = wanted;
  pkcs11.C_FindObjectsInit(session, [
    { type: names.CKA_CLASS, value: objectClass },
    ...(object === undefined ? [] : [{ type: names.CKA_LABEL, value: Buffer.from(object) }]),
    ...(id === undefined ? [] : [{ type: names.CKA_ID, value: Buffer.from(id, 'hex') }]),
  ]);
  let found: Buffer[];
  try {
    found = pkcs11.C_FindObjects(session, 2);
  } finally {
    pkcs11.C_FindObjectsFinal(session);
  }
  const what = objectClass === names.CKO_PRIVATE_KEY ? 'private key' : 'public key';
  const name = written(wanted);
  const [key, another] = found;
  if (!key) throw new Error(`the token shows no ${what} with ${name}`);
  if (another) throw new Error(`the token shows more than one ${what} with ${name}: name it by id=…`);
  return key;
}

async function sign(
  { pkcs11, names, free, key }: Opened,
  { kind, digestName, digest }: Extract<Call, { call: 'sign' }>,
): Promise<Uint8Array> {
  const session = free.pop();
  if (!session) throw new Error('more signatures are asked for than there are sessions');
  try {
    const mechanism = kind === 'ec' ? names.CKM_ECDSA : names.CKM_RSA_PKCS;
    const content = kind === 'ec' ? digest : digestInfo(digestName, digest);
    pkcs11.C_SignInit(session, { mechanism }, key);
    return await pkcs11.C_SignAsync(session, Buffer.from(content), Buffer.alloc(signatureBytes));
  } finally {
    free.push(session);
  }
}

/** RFC 8017 9.2. */
function digestInfo(digestName: 'sha256' | 'sha384' | 'sha512', digest: Uint8Array): Uint8Array {
  return sequence(sequence(objectIdentifier(oids[digestName]), derNull), encode(tags.octetString, digest));
}

function publicHalf(key: Opened): PublicHalf {
  const { pkcs11, names, name } = key;
  const [session] = key.free;
  if (!session) throw new Error('no session is free');
  const found = find(key, session, names.CKO_PUBLIC_KEY, name);
  const read = (...types: number[]) =>
    pkcs11
      .C_GetAttributeValue(
        session,
        found,
        types.map((type) => ({ type })),
      )
      .map(({ value }) => value);
  const [type] = read(names.CKA_KEY_TYPE);
  if (type?.readUInt32LE() === names.CKK_EC) {
    const [point, params] = read(names.CKA_EC_POINT, names.CKA_EC_PARAMS);
    if (point && params) return { kind: 'ec', point, params };
  }
  const [modulus, exponent] = read(names.CKA_MODULUS, names.CKA_PUBLIC_EXPONENT);
  if (modulus && exponent) return { kind: 'rsa', modulus, exponent };
  throw new Error('the token shows no public key that can be read');
}

async function answer(call: Call): Promise<unknown> {
  if (call.call === 'findToken') return findToken(call);
  if (!loaded) throw new Error('the token was not found yet');
  if (call.call === 'openKey') {
    opened = openKey(loaded, call);
    return undefined;
  }
  if (!opened) throw new Error('the key is not open');
  return call.call === 'sign' ? sign(opened, call) : publicHalf(opened);
}

process.on('message', (call: Call) => {
  answer(call).then(
    (value) => process.send?.({ id: call.id, ok: true, value } satisfies Reply),
    (error: Error) => {
      const [code] = /CKR_[A-Z0-9_]+/.exec(error.message) ?? [];
      process.send?.({ id: call.id, ok: false, reason: error.message, code } satisfies Reply);
    },
  );
});
// The signer has ended, or was killed.
process.on('disconnect', () => process.exit());
