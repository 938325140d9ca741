import type { BadInput } from './rows.ts';

const pkcs11 = 'keys/pkcs11.test.ts';
const reference = 'keys/key-ref.test.ts';
const remote = 'keys/remote-key.test.ts';
const pool = 'authority/key-by-reference.test.ts';

/** Keys that are kept outside of the pool. */
export const keyRows: readonly BadInput[] = [
  {
    input:
      'a `keyRef` that is malformed, names a module, a PIN or a host, stands beside a private key, or is that of an Ed25519 CA',
    verdict: ['PoolUnusable'],
    tests: [
      [
        reference,
        'any text is read as a reference to a key without an exception, and none of it is repeated',
      ],
      [reference, 'a reference to a key is refused: pkcs11:token=a;object=b?module-path=/tmp/evil.so'],
      [reference, 'a reference to a key is refused: awskms:///alias/my-key'],
      ...['stands beside a private key', 'cannot be read', 'is no text', 'is that of an Ed25519 CA'].map(
        (what) => [pool, `a keyRef is refused if it ${what}, at the field and without a part of it`] as const,
      ),
    ],
  },
  {
    input: 'a PKCS#11 token that is missing, or whose key is missing or exists twice',
    verdict: ['KeyUnavailable'],
    tests: [
      [pkcs11, 'opening a key fails if there is no such token'],
      [pkcs11, 'opening a key fails if there is no such key'],
      [pkcs11, 'opening a key fails if two keys have the name'],
    ],
  },
  {
    input: 'a PKCS#11 token that is removed, or whose module hangs or crashes, while it is used',
    verdict: ['KeyUnavailable'],
    tests: [
      [pkcs11, 'opening a key fails if the token was removed, and it opens again when it is back'],
      [pkcs11, 'only that signature fails when the token is removed'],
      [pkcs11, 'only that signature fails when the module crashes'],
      [pkcs11, 'a signature fails when the module hangs and the key is closed'],
    ],
  },
  {
    input: 'a PIN that is wrong, missing, or locked',
    verdict: ['KeyUnavailable'],
    tests: [
      [
        pkcs11,
        'opening a key fails if the PIN is wrong: it is tried once, and another one as soon as the file has it',
      ],
      [pkcs11, 'opening a key fails without its PIN: the file is missing or empty, or the token needs one'],
      [pkcs11, 'opening a key fails if the PIN is locked'],
    ],
  },
  {
    input: 'a PKCS#11 token with 10,000 objects',
    verdict: ['Issued'],
    tests: [[pkcs11, 'a key in a PKCS#11 token is found among 10,000 objects']],
  },
  {
    input: 'a key outside of the pool that refuses, hangs, or is not that of the certificate',
    verdict: ['KeyUnavailable'],
    tests: [
      [remote, 'a remote key counts as lost when its backend refuses, until it signs again'],
      [remote, 'a remote key counts as lost when its backend hangs, until it signs again'],
      [remote, 'a remote key counts as lost when its backend has another key, until it signs again'],
    ],
  },
];
