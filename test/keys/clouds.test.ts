import assert from 'node:assert/strict';
import { generateKeyPairSync, hash, type KeyObject, verify } from 'node:crypto';
import { after, describe, it } from 'node:test';
import { awsOpener } from '../../signer/keys/aws-kms.ts';
import { azureOpener } from '../../signer/keys/azure-key-vault.ts';
import { googleOpener } from '../../signer/keys/google-kms.ts';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';
import { loadPackage } from '../../signer/keys/load-package.ts';
import type { Opener } from '../../signer/keys/open-key.ts';
import { type SignatureAlgorithm, signatureAlgorithms } from '../../spiffe/pki/algorithms.ts';
import { type Cloud, startAws, startAzure, startGoogle } from './clouds.ts';

const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const version = 'projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1';
const azureKey = 'ca/0123456789abcdef0123456789abcdef';
const serviceAccount = generateKeyPairSync('rsa', { modulusLength: 2048 });
type Pair = { privateKey: KeyObject; publicKey: KeyObject };

const pairs: readonly [name: string, algorithm: SignatureAlgorithm, pair: Pair][] = [
  ['ECDSA P-256', signatureAlgorithms.ES256, generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['ECDSA P-384', signatureAlgorithms.ES384, generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['RSA 3072', signatureAlgorithms.RS256, generateKeyPairSync('rsa', { modulusLength: 3072 })],
];

interface CloudCase {
  readonly name: string;
  readonly uri: string;
  readonly start: (pair: Pair) => Promise<Cloud>;
  readonly opener: (cloud: Cloud) => Opener;
  /** What signing, and reading the public key, ask for. */
  readonly operations: readonly [sign: string, publicKey: string];
  /** An answer of the service, and what of it must be seen. */
  readonly refusal: { readonly status: number; readonly body: object };
}

const clouds: readonly CloudCase[] = [
  {
    name: 'AWS KMS',
    uri: `awskms:///${arn}`,
    start: (pair) => startAws(arn, pair),
    opener: ({ url }) =>
      awsOpener({ endpoint: url, credentials: { accessKeyId: 'AKIDTEST', secretAccessKey: 'secret' } }),
    operations: ['Sign', 'GetPublicKey'],
    refusal: { status: 400, body: { __type: 'DisabledException', message: `${arn} is disabled.` } },
  },
  {
    name: 'Google Cloud KMS',
    uri: `gcpkms://${version}`,
    start: (pair) => startGoogle(version, pair, serviceAccount.publicKey),
    opener: ({ port }) =>
      googleOpener({
        ...{ apiEndpoint: '127.0.0.1', port, protocol: 'http' },
        credentials: {
          client_email: 'signer@p.iam.gserviceaccount.com',
          private_key: serviceAccount.privateKey.export({ format: 'pem', type: 'pkcs8' }),
        },
      }),
    operations: ['asymmetricSign', 'publicKey'],
    refusal: {
      status: 400,
      body: { error: { code: 400, status: 'FAILED_PRECONDITION', message: 'the version is disabled.' } },
    },
  },
  {
    name: 'Azure Key Vault',
    uri: `azurekms://my-vault.vault.azure.net/${azureKey}`,
    start: (pair) => startAzure(azureKey, pair),
    opener: ({ url }) =>
      azureOpener({
        credential: {
          getToken: async (scopes: string | string[]) => ({
            token: `token-for-${[scopes].flat().join(' ')}`,
            expiresOnTimestamp: Date.now() + 3_600_000,
          }),
        },
        options: { httpClient: redirectedTo(url), retryOptions: { maxRetries: 0 } },
      }),
    operations: ['sign', 'get'],
    refusal: { status: 403, body: { error: { code: 'Forbidden', message: 'the key is disabled.' } } },
  },
];

/** A client of Azure's pipeline that sends what is meant for the vault to a stand-in. */
function redirectedTo(url: string) {
  const { createDefaultHttpClient } = loadPackage('@azure/core-rest-pipeline') as {
    createDefaultHttpClient(): { sendRequest(request: object): Promise<object> };
  };
  const client = createDefaultHttpClient();
  return {
    sendRequest: async (request: { url: string; allowInsecureConnection: boolean }) => {
      const original = request.url;
      request.url = request.url.replace('https://my-vault.vault.azure.net', url);
      request.allowInsecureConnection = true;
      try {
        return await client.sendRequest(request);
      } finally {
        request.url = original;
      }
    },
  };
}

for (const { name, uri, start, opener, operations, refusal } of clouds) {
  describe(`a key of ${name}`, () => {
    const running: Cloud[] = [];
    after(() => {
      for (const cloud of running) cloud.close();
    });

    async function opened(pair: Pair) {
      const cloud = await start(pair);
      running.push(cloud);
      const ref = parseKeyRef(uri);
      assert.ok(ref.ok);
      const key = await opener(cloud)(ref.value, new AbortController().signal);
      return { cloud, key };
    }

    for (const [type, algorithm, pair] of pairs) {
      it(`a key of ${name} and type ${type} signs what its public half verifies`, async () => {
        const { key, cloud } = await opened(pair);
        const content = Buffer.from('what is to be signed');
        const digest = algorithm.digest ?? 'sha256';
        assert.ok((await key.publicKey()).equals(pair.publicKey));
        const signature = await key.sign(hash(digest, content, 'buffer'), algorithm);
        assert.ok(verify(digest, content, pair.publicKey, signature));
        assert.deepEqual(
          new Set(cloud.calls),
          new Set([...operations, ...(name === 'Azure Key Vault' ? ['get'] : [])]),
        );
        key.close();
      });
    }

    it(`a key of ${name} that is refused reports why`, async () => {
      const { key, cloud } = await opened((pairs[0] as (typeof pairs)[0])[2]);
      cloud.failure = refusal;
      await assert.rejects(key.sign(Buffer.alloc(32), signatureAlgorithms.ES256), /is disabled/);
      key.close();
    });

    it(`a key of ${name} that cannot be reached reports that`, async () => {
      const { key, cloud } = await opened((pairs[0] as (typeof pairs)[0])[2]);
      cloud.close();
      await assert.rejects(
        key.sign(Buffer.alloc(32), signatureAlgorithms.ES256),
        /ECONNREFUSED|fetch failed|socket|ECONNRESET/,
      );
      key.close();
    });
  });
}
