import { failure, type Result, success } from '../../spiffe/pki/result.ts';

/** A private key that is kept outside of the pool, as `keyRef` names it. */
export type KeyRef =
  | { readonly backend: 'pkcs11'; readonly uri: string; readonly token: TokenName; readonly key: KeyName }
  | { readonly backend: 'aws'; readonly uri: string; readonly region: string; readonly arn: string }
  | { readonly backend: 'google'; readonly uri: string; readonly version: string }
  | {
      readonly backend: 'azure';
      readonly uri: string;
      readonly host: string;
      readonly key: string;
      readonly version: string;
    };

/** What a token must show in C_GetTokenInfo. */
export interface TokenName {
  readonly token?: string;
  readonly serial?: string;
}

/** What the key must have as CKA_LABEL and CKA_ID. */
export interface KeyName {
  readonly object?: string;
  /** Hex. */
  readonly id?: string;
}

export type KeyBackendName = KeyRef['backend'];
export const keyBackendNames = [
  'pkcs11',
  'aws',
  'google',
  'azure',
] as const satisfies readonly KeyBackendName[];

/** Bytes of UTF-8 in a reference. */
const longest = 1024;

/**
 * Reads a `keyRef`. A reference names one version of one key and nothing else. The settings of the signer, and never
 * the pool, decide which code runs and where credentials are sent (modules, PINs, endpoints).
 */
export function parseKeyRef(uri: string): Result<KeyRef> {
  if (uri.length > longest) return failure(`is longer than ${longest} characters`);
  if (uri.startsWith('pkcs11:')) return parsePkcs11(uri);
  const cloud = clouds.find(({ scheme }) => uri.startsWith(`${scheme}:`));
  if (!cloud) {
    return failure(
      'is not a reference to a key, which starts with pkcs11:, awskms:///, gcpkms:// or azurekms://',
    );
  }
  const { backend, form, shown } = cloud;
  const parts = form.exec(uri)?.groups;
  return parts ? success({ backend, uri, ...parts } as KeyRef) : failure(`is not ${shown}`);
}

const part = '[A-Za-z0-9_:.-]{1,128}';
/** The hosts of Azure's own clouds: the credentials of the signer are sent there. */
const azureHost = '[a-z0-9-]{3,32}\\.(?:vault|managedhsm)\\.(?:azure\\.net|azure\\.cn|usgovcloudapi\\.net)';

/** The named groups of a form are the members of the KeyRef. `shown`: the form as a person reads it. */
const clouds = [
  {
    scheme: 'awskms',
    backend: 'aws',
    form: /^awskms:\/\/\/(?<arn>arn:aws(?:-[a-z]+)*:kms:(?<region>[a-z0-9-]{1,32}):\d{12}:key\/[A-Za-z0-9-]{1,64})$/,
    // An alias can be moved to another key, so that only the ARN of the key is taken.
    shown: 'awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID (an alias can be moved, so it is not accepted)',
  },
  {
    scheme: 'gcpkms',
    backend: 'google',
    form: new RegExp(
      `^gcpkms://(?<version>projects/${part}/locations/${part}/keyRings/${part}/cryptoKeys/${part}/cryptoKeyVersions/\\d{1,9})$`,
    ),
    shown:
      'gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/NUMBER',
  },
  {
    scheme: 'azurekms',
    backend: 'azure',
    form: new RegExp(
      `^azurekms://(?<host>${azureHost})/(?<key>[A-Za-z0-9-]{1,127})/(?<version>[0-9a-f]{32})$`,
    ),
    shown: 'azurekms://VAULT.vault.azure.net/KEY/VERSION',
  },
] as const;

const pkcs11Attributes = new Set(['token', 'serial', 'object', 'id', 'type']);

/** RFC 7512 without its query: `module-path` and `pin-source` would let a pool choose what the signer runs and reads. */
function parsePkcs11(uri: string): Result<KeyRef> {
  const path = uri.slice('pkcs11:'.length);
  if (path.includes('?')) {
    return failure(
      'has a query (?…): the module and the PIN are named by settings, pkcs11Module and pkcs11PinFile',
    );
  }
  const found = new Map<string, string>();
  for (const attribute of path.split(';')) {
    const at = attribute.indexOf('=');
    const name = attribute.slice(0, Math.max(at, 0));
    if (!pkcs11Attributes.has(name)) {
      return failure(`has an attribute that is not one of ${[...pkcs11Attributes].join(', ')}`);
    }
    if (found.has(name)) return failure(`has the attribute ${name} twice`);
    const value = percentDecodedBytes(attribute.slice(at + 1));
    if (value === undefined || value.length === 0)
      return failure(`has an attribute ${name} that cannot be read`);
    found.set(name, name === 'id' ? value.toString('hex') : value.toString());
  }
  if ((found.get('type') ?? 'private') !== 'private') return failure('is not of type=private');
  const only = <T extends string>(...names: readonly T[]) =>
    Object.fromEntries(names.flatMap((name) => (found.has(name) ? [[name, found.get(name)]] : []))) as {
      [N in T]?: string;
    };
  const token = only('token', 'serial');
  const key = only('object', 'id');
  if (Object.keys(token).length === 0) return failure('names no token: add token=… or serial=…');
  if (Object.keys(key).length === 0) return failure('names no key of the token: add object=… or id=…');
  return success({ backend: 'pkcs11', uri, token, key });
}

/** The bytes of percent-encoded text; undefined if a % has no two hex digits after it. */
function percentDecodedBytes(text: string): Buffer | undefined {
  if (!/^([^%]|%[0-9A-Fa-f]{2})*$/.test(text)) return undefined;
  const parts = text.split(/(%[0-9A-Fa-f]{2})/);
  return Buffer.concat(
    parts.map((part) => (part.startsWith('%') ? Buffer.from(part.slice(1), 'hex') : Buffer.from(part))),
  );
}
