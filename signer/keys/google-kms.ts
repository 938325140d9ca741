import { createPublicKey } from 'node:crypto';
import { loadPackage } from './load-package.ts';
import type { Opener } from './open-key.ts';

/** What is used of @google-cloud/kms, which is installed only where keys are in Cloud KMS. */
interface GooglePackage {
  readonly KeyManagementServiceClient: new (
    options: object,
  ) => {
    asymmetricSign(
      request: object,
      options: object,
    ): Promise<readonly [{ signature?: Uint8Array | string | null }]>;
    getPublicKey(request: object, options: object): Promise<readonly [{ pem?: string | null }]>;
    close(): Promise<void>;
  };
}

/** The library would try for a minute. The signer tries again, and shows meanwhile what is wrong. */
const once = { retry: null };

/**
 * Opens keys of Google Cloud KMS. Credentials come from where the library finds them, such as Workload Identity; they need
 * cloudkms.cryptoKeyVersions.useToSign, and viewPublicKey for the tools.
 *
 * @param options further options of the client.
 */
export function googleOpener(options: object = {}): Opener {
  return async (ref) => {
    if (ref.backend !== 'google') throw new Error(`${ref.uri} is not a key of Google Cloud KMS`);
    const { KeyManagementServiceClient } = loadPackage('@google-cloud/kms') as GooglePackage;
    // Over HTTP and JSON: the gRPC of this library would be a second one beside ours.
    const client = new KeyManagementServiceClient({ fallback: true, ...options });
    const name = ref.version;
    return {
      async sign(digest, algorithm) {
        const [{ signature }] = await client.asymmetricSign(
          {
            name,
            digest: { [algorithm.digest ?? '']: Buffer.from(digest) },
          },
          once,
        );
        return typeof signature === 'string'
          ? Buffer.from(signature, 'base64')
          : (signature ?? new Uint8Array());
      },
      async publicKey() {
        const [{ pem }] = await client.getPublicKey({ name }, once);
        return createPublicKey(pem ?? '');
      },
      close: () => void client.close().catch(() => undefined),
    };
  };
}
