import { registerHooks } from 'node:module';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';

/**
 * Loads client-node's KubeConfig without its generated API models.
 *
 * `dist/config.js` imports `./gen/index.js` for two names that only makeApiClient() uses, and undici for two
 * dispatchers that it builds only for its own clients. Measured on Node 24 beside our own use of undici: +55 MB of
 * RSS and 1.1 s for the import as it is, +10 MB and 0.1 s with this one specifier resolved to a stub. What else it
 * imports (openid-client, socks, hpagent: together 4 MB) is left as it is.
 */
export async function loadKubeConfigClass(): Promise<typeof KubeConfig> {
  const hooks = registerHooks({
    resolve(specifier, context, nextResolve) {
      const isModels =
        specifier === './gen/index.js' && context.parentURL?.endsWith('/client-node/dist/config.js') === true;
      return isModels ? { url: stubOfModels, shortCircuit: true } : nextResolve(specifier, context);
    },
  });
  try {
    const loaded = await import('@kubernetes/client-node/dist/config.js');
    return loaded.KubeConfig;
  } finally {
    hooks.deregister();
  }
}

const stubOfModels = `data:text/javascript,${encodeURIComponent(`
const refuse = () => { throw new Error('the API models of client-node are left out here: only KubeConfig is used'); };
export const createConfiguration = refuse;
export class ServerConfiguration { constructor() { refuse(); } }
`)}`;
