import type { KeyBackendName, KeyRef } from './key-ref.ts';
import type { Opener } from './open-key.ts';
import type { Pkcs11Settings } from './pkcs11.ts';

export interface KeySettings {
  /** The backends that may be used. */
  readonly backends: readonly KeyBackendName[];
  readonly pkcs11: Pkcs11Settings;
}

/** How the keys of each backend are opened. A backend is loaded when its first key is opened. */
const backends: Readonly<Record<KeyBackendName, (settings: KeySettings) => Promise<Opener>>> = {
  pkcs11: async ({ pkcs11 }) => (await import('./pkcs11.ts')).pkcs11Opener(pkcs11),
  aws: async () => (await import('./aws-kms.ts')).awsOpener(),
  google: async () => (await import('./google-kms.ts')).googleOpener(),
  azure: async () => (await import('./azure-key-vault.ts')).azureOpener(),
};

/** Opens keys of the backends that are configured. */
export function createOpener(settings: KeySettings): Opener {
  const loaded = new Map<KeyBackendName, Promise<Opener>>();
  return async (ref: KeyRef, signal) => {
    const { backend } = ref;
    if (!settings.backends.includes(backend))
      throw new Error(`the setting keyBackends does not list ${backend}`);
    const opener = loaded.get(backend) ?? backends[backend](settings);
    loaded.set(backend, opener);
    return (await opener)(ref, signal);
  };
}
