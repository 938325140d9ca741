import { join } from 'node:path';
import type { Admin } from './admin.ts';
import { replaceFile, writeKubeconfig } from './kubeconfig.ts';

export interface TokenFiles {
  kubeconfigFor(
    serviceAccount: { namespace: string; name: string },
    options?: { server?: string; authority?: string; ttlSeconds?: number },
  ): Promise<string>;
  rotate(kubeconfig: string): Promise<void>;
}

/** Kubeconfigs of ServiceAccounts whose tokens lie in files beside them and can be renewed. */
export function createTokenFiles(dir: string, url: string, authority: string, admin: Admin): TokenFiles {
  const renewals = new Map<string, () => Promise<void>>();
  let made = 0;
  return {
    kubeconfigFor: async ({ namespace, name }, options = {}) => {
      // Counted before anything is waited for: several may be made at the same moment.
      const base = join(dir, `sa-${namespace}-${name}-${made++}`);
      const tokenFile = `${base}.token`;
      const renew = async () => {
        const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
        const { status, body } = await admin.request('POST', path, {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { expirationSeconds: options.ttlSeconds ?? 3600 },
        });
        if (status !== 201)
          throw new Error(`no token for ServiceAccount ${namespace}/${name}: ${body.message}`);
        await replaceFile(tokenFile, body.status.token);
      };
      await renew();
      const file = `${base}.kubeconfig`;
      renewals.set(file, renew);
      const server = options.server ?? url;
      return writeKubeconfig(
        file,
        { server, authority: options.authority ?? authority, namespace },
        { tokenFile },
      );
    },
    rotate: async (kubeconfig) => {
      const renew = renewals.get(kubeconfig);
      if (!renew) throw new Error(`${kubeconfig} was not made by kubeconfigFor`);
      await renew();
    },
  };
}
