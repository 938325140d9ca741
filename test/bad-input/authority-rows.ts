import type { BadInput } from './rows.ts';

const pool = 'authority/pool.test.ts';
const answer = 'authority/answer.test.ts';
const vault = 'authority/upstream/vault.test.ts';
const company = 'contract/company-pki.test.ts';

type Inputs = readonly (readonly [input: string, ...tests: string[]])[];

const rows = (file: string, verdict: string, titleOf: (name: string) => string, inputs: Inputs) =>
  inputs.map(
    ([input, ...tests]): BadInput => ({
      ...{ input, verdict },
      tests: tests.map((name) => [file, titleOf(name)]),
    }),
  );

/** Pools that signers and commands refuse. What was published stays, and nothing is signed. */
const refused = (reason: string, inputs: Inputs) =>
  rows(
    pool,
    `not taken: [${reason}](#${reason.toLowerCase()})`,
    (name) => `a pool is refused: ${name}`,
    inputs,
  );

const notImported = (inputs: Inputs) =>
  rows(
    answer,
    'the pool stays as it is',
    (name) => `the answer to a request is refused when it ${name}`,
    inputs,
  );

const fromVault = (verdict: string, inputs: Inputs) =>
  rows(vault, verdict, (name) => `Vault gives no certificate when it ${name}`, inputs);

/** Bad pools, and bad answers of the CAs above them. */
export const authorityBadInput: readonly BadInput[] = [
  ...refused('PoolMissing', [['a pool Secret that is missing', 'a Secret that is missing']]),
  ...refused('PoolEmpty', [
    ['a pool Secret without the key `pool.json`', 'a Secret without the key'],
    ['a TLS Secret of cert-manager in place of a pool', 'a Secret with a CA of cert-manager'],
    ['an empty `pool.json`', 'an empty pool.json'],
    ['a pool without authorities', 'a pool without authorities'],
  ]),
  ...refused('PoolMalformed', [
    ['a `pool.json` that is not JSON', 'text that is not JSON'],
    ['a `pool.json` that is a list', 'JSON that is no object'],
    ['a `pool.json` of which a writer wrote only the first half', 'a document that is cut off'],
    ['a `pool.json` of more than 512 KiB', 'a pool that is too large'],
    ['a pool of 33 authorities', 'too many authorities'],
    ['a pool of another apiVersion, such as a newer one', 'another apiVersion'],
    ['a `sequence` that is negative', 'a sequence that is negative'],
    ['a field of an authority that is misspelt, or that a newer version wrote', 'a field that is misspelt'],
    ['an authority without a required field', 'a field that is missing'],
    ['an id with characters that are not allowed', 'an id that is not fit to be one'],
    ['a time that is not RFC 3339', 'a time that is not a time'],
    ['a kind of authority that does not exist', 'an unknown kind'],
    ['a JWT key in `preview`', 'a JWT authority in preview'],
    ['two authorities with one id', 'two authorities of one id'],
    ['two active authorities of one kind', 'two active authorities'],
    ['an active authority without a private key', 'an active authority without a key'],
    ['a certificate in place of a private key', 'a key that is a certificate'],
    ['a private key that is cut off', 'a key that is cut off'],
    ['a CA with an RSA key of 2048 bits', 'an RSA key of 2048 bits'],
    ['a CA with a key on P-521', 'a key on P-521'],
    ['a `certificate` that is not one', 'a certificate that is not a certificate'],
    ['two certificates in one field', 'two certificates in one field'],
    ['a leaf certificate in place of a CA', 'a certificate that is no CA'],
    ['a CA without keyCertSign', 'a CA that may not sign certificates'],
    ['a CA that is limited to server certificates', 'a CA that is limited to servers'],
    ['a CA with an unknown critical extension', 'a CA with a critical extension that verifiers do not know'],
    [
      'a CA, or one above it, whose name constraints exclude the trust domain',
      'a CA whose name constraints exclude the trust domain',
      'a root above the signing certificate whose name constraints exclude the trust domain',
    ],
    [
      'an intermediate where the root should be',
      'a certificate that is not self-signed where the root should be',
    ],
    ['an intermediate of another root', 'an intermediate of another root'],
    ['intermediates in the wrong order', 'intermediates in the wrong order'],
    ['two CAs that have signed each other, without a root', 'a cycle of two CAs'],
    ['path length 0 above an intermediate', 'a root that allows no intermediate'],
    ['a request for a certificate that cannot be read', 'a request that cannot be read'],
    [
      'a request for a certificate in an authority that is published',
      'a request of an authority that is trusted',
    ],
    ['a request beside a certificate', 'a request beside a certificate'],
  ]),
  ...refused('PoolStateUnknown', [['a state that a newer version wrote', 'an unknown state']]),
  ...refused('PoolTrustDomainMismatch', [
    ['a pool of another trust domain than the setting', 'a pool of another trust domain'],
    ['a root with the SPIFFE ID of another trust domain', 'a root of another trust domain'],
    ['a root whose SPIFFE ID has a path', 'a root whose SPIFFE ID has a path'],
    ['an intermediate of another trust domain', 'an intermediate of another trust domain'],
  ]),
  ...refused('PoolKeyMismatch', [
    ['a private key of another certificate', 'a key that belongs to another certificate'],
    [
      'the key of the root where that of the intermediate should be',
      'a key that belongs to the root and not to the intermediate',
    ],
    ['a request for a certificate that was made with another key', 'a request for another key'],
  ]),
  ...refused('PoolExpired', [['an active root that has expired', 'an active root that has expired']]),
  ...refused('PoolNotYetValid', [
    ['an active root that begins in the future', 'an active root that is not yet valid'],
  ]),
  ...refused('AuthorityExpiring', [
    ['an active root with half an hour left', 'an active root with less than an hour left'],
    ['an intermediate that ends before its root', 'an intermediate that ends before its root'],
  ]),
  ...notImported([
    ['the answer of a CA with a certificate for another key', 'is for another key'],
    ['the answer of a CA with a leaf certificate', 'is no CA'],
    ['the answer of a CA with a certificate without keyCertSign', 'may sign no certificates'],
    ['the answer of a CA with the SPIFFE ID of another trust domain', 'carries another SPIFFE ID'],
    [
      'the answer of a CA with further names',
      ...['carries an extra URI', 'carries a DNS name', 'carries an email address', 'carries an IP address'],
    ],
    [
      'the answer of a CA with a certificate that has expired, or has half an hour left',
      'has expired',
      'has half an hour left',
    ],
    ['the answer of a CA with a certificate that begins tomorrow', 'begins tomorrow'],
    ['the answer of a CA without a subject', 'has no subject'],
    ['the answer of a CA that lives longer than was asked for', 'lives longer than was asked for'],
    ['the answer of a CA without the certificates above it', 'is signed by a CA that is missing'],
    ['the answer of a CA with a certificate for code signing', 'is limited to code signing'],
    ['the answer of a CA with nothing, a web page, or the request itself', 'is not a certificate'],
    ['the answer of a CA that may sign no other CA', 'is below a CA with path length 0'],
  ]),
  {
    input: 'the answer of cert-manager with a chain to a foreign root, or a denial',
    verdict: 'the pool stays as it is',
    tests: [[company, 'ca prepare refuses an answer below a foreign root, and a request that was denied']],
  },
  ...fromVault('asked again later', [
    ['a Vault that is sealed, a standby, or busy', 'is sealed', 'is a standby', 'is busy'],
    ['a Vault that answers with more than 256 KiB', 'answers with 300 KiB'],
  ]),
  ...fromVault('the pool stays as it is', [
    ['a Vault that refuses the request', 'refuses the request'],
    [
      'a Vault that answers without a certificate',
      ...['answers with nothing', 'answers with a web page', 'answers with a text in place of data'],
    ],
  ]),
  {
    input: 'a Vault whose certificate is not trusted, whose mount is wrong, or that cannot be reached',
    verdict: 'the pool stays as it is',
    tests: [
      [
        vault,
        'Vault is not asked if its certificate is not trusted, its mount is wrong, or it does not listen',
      ],
    ],
  },
];
