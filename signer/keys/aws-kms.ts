import { createPublicKey } from 'node:crypto';
import { loadPackage } from './load-package.ts';
import type { Opener } from './open-key.ts';

/** What is used of @aws-sdk/client-kms, which is installed only where keys are in AWS KMS. */
interface AwsPackage {
  readonly KMSClient: new (
    options: object,
  ) => {
    send(command: object): Promise<{ Signature?: Uint8Array; PublicKey?: Uint8Array }>;
    destroy(): void;
  };
  readonly SignCommand: new (input: object) => object;
  readonly GetPublicKeyCommand: new (input: object) => object;
}

/** By the name of the signature algorithm in certificates. */
const algorithms: Readonly<Record<string, string>> = {
  'ecdsa-with-SHA256': 'ECDSA_SHA_256',
  'ecdsa-with-SHA384': 'ECDSA_SHA_384',
  sha256WithRSAEncryption: 'RSASSA_PKCS1_V1_5_SHA_256',
};

/**
 * Opens keys of AWS KMS. Credentials come from where the SDK finds them, such as the role of the ServiceAccount; they need
 * kms:Sign, and kms:GetPublicKey for the tools.
 *
 * @param options further options of the client.
 */
export function awsOpener(options: object = {}): Opener {
  return async (ref) => {
    if (ref.backend !== 'aws') throw new Error(`${ref.uri} is not a key of AWS KMS`);
    const { KMSClient, SignCommand, GetPublicKeyCommand } = loadPackage('@aws-sdk/client-kms') as AwsPackage;
    // What failed twice is retried by the signer, which shows meanwhile what is wrong.
    const client = new KMSClient({ region: ref.region, maxAttempts: 2, ...options });
    return {
      async sign(digest, { name }) {
        const { Signature } = await client.send(
          new SignCommand({
            KeyId: ref.arn,
            Message: digest,
            MessageType: 'DIGEST',
            SigningAlgorithm: algorithms[name],
          }),
        );
        return Signature ?? new Uint8Array();
      },
      async publicKey() {
        const { PublicKey } = await client.send(new GetPublicKeyCommand({ KeyId: ref.arn }));
        return createPublicKey({ key: Buffer.from(PublicKey ?? []), format: 'der', type: 'spki' });
      },
      close: () => client.destroy(),
    };
  };
}
