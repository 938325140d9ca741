import { createPublicKey } from 'node:crypto';
import { derFromJoined } from '../../spiffe/pki/ecdsa-signature.ts';
import { loadPackage } from './load-package.ts';
import type { Opener } from './open-key.ts';

/** What is used of @azure/keyvault-keys, which is installed only where keys are in Azure Key Vault. */
interface AzurePackage {
  readonly CryptographyClient: new (
    key: string,
    credential: unknown,
    options: object,
  ) => {
    sign(algorithm: string, digest: Uint8Array): Promise<{ readonly result: Uint8Array }>;
  };
  readonly KeyClient: new (
    vault: string,
    credential: unknown,
    options: object,
  ) => {
    getKey(name: string, options: { version: string }): Promise<{ readonly key?: AzureJwk }>;
  };
}

/** Numbers are bytes. */
type AzureJwk = Readonly<Partial<Record<'n' | 'e' | 'x' | 'y', Uint8Array>>> & { kty?: string; crv?: string };

/** By the name of the signature algorithm in certificates. */
const algorithms: Readonly<Record<string, string>> = {
  'ecdsa-with-SHA256': 'ES256',
  'ecdsa-with-SHA384': 'ES384',
  sha256WithRSAEncryption: 'RS256',
};

/**
 * Opens keys of Azure Key Vault and Managed HSM. Credentials come from where @azure/identity finds them, such as the
 * workload identity of the pod; they need the permissions `sign` and `get`.
 *
 * @param given a credential instead of those, and further options of the clients.
 */
export function azureOpener(
  given: { readonly credential?: unknown; readonly options?: object } = {},
): Opener {
  return async (ref) => {
    if (ref.backend !== 'azure') throw new Error(`${ref.uri} is not a key of Azure Key Vault`);
    const { CryptographyClient, KeyClient } = loadPackage('@azure/keyvault-keys') as AzurePackage;
    const { options = {}, credential = defaultCredential() } = given;
    const vault = `https://${ref.host}`;
    const client = new CryptographyClient(`${vault}/keys/${ref.key}/${ref.version}`, credential, options);
    return {
      async sign(digest, { name, keyType }) {
        const { result } = await client.sign(algorithms[name] ?? name, digest);
        return keyType === 'ec' ? derFromJoined(result) : result;
      },
      async publicKey() {
        const keys = new KeyClient(vault, credential, options);
        const { key = {} } = await keys.getKey(ref.key, { version: ref.version });
        const numbers = (['n', 'e', 'x', 'y'] as const).flatMap((member) => {
          const number = key[member];
          return number ? [[member, Buffer.from(number).toString('base64url')]] : [];
        });
        const jwk = { kty: key.kty?.replace('-HSM', ''), crv: key.crv, ...Object.fromEntries(numbers) };
        return createPublicKey({ key: jwk, format: 'jwk' });
      },
      close: () => undefined,
    };
  };
}

function defaultCredential(): unknown {
  const { DefaultAzureCredential } = loadPackage('@azure/identity') as {
    DefaultAzureCredential: new () => unknown;
  };
  return new DefaultAzureCredential();
}
