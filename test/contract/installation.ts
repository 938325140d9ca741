import path from 'node:path';
import { createAuthority, type NewAuthority, newPool } from '../../signer/authority/create.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolSecret, serializePool } from '../../signer/authority/pool-secret.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { applyAdmissionPolicy } from './admission-policy.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';

const base = path.join(import.meta.dirname, '../../manifests/base');
const secretsIn = (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`;

/**
 * Installs what the signer needs to run as a process with the rights that we ship: namespace, ServiceAccount, RBAC,
 * FlowSchema and admission policy of manifests/base.
 *
 * @returns a kubeconfig with a token of the signer's ServiceAccount.
 */
export async function installSigner(
  controlPlane: ControlPlane,
  options: Parameters<ControlPlane['kubeconfigFor']>[1] = {},
): Promise<string> {
  const files = ['namespace', 'service-account', 'rbac', 'flow-control'].flatMap((name) => [
    '-f',
    path.join(base, `${name}.yaml`),
  ]);
  await controlPlane.kubectl(['apply', ...files]);
  await applyAdmissionPolicy(controlPlane);
  return controlPlane.kubeconfigFor({ namespace: 'kubespiffe', name: 'kubespiffe-signer' }, options);
}

/** Creates a Deployment with these flags of the signer, for commands that read its settings. There is no node to run it. */
export async function createDeployment(controlPlane: ControlPlane, flags: readonly string[]): Promise<void> {
  const labels = { app: 'kubespiffe-signer' };
  const args = ['signer', '--trust-domain', 'example.org', ...flags];
  const { status, body } = await controlPlane.request(
    'POST',
    '/apis/apps/v1/namespaces/kubespiffe/deployments',
    {
      metadata: { name: 'kubespiffe-signer' },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { containers: [{ name: 'signer', image: 'none', command: ['kubespiffe'], args }] },
        },
      },
    },
  );
  if (status !== 201) throw new Error(`no Deployment: ${JSON.stringify(body)}`);
}

/** Installs the CRDs of registrations, and the policy of manifests/base for them. */
export async function installRegistrations(controlPlane: ControlPlane): Promise<void> {
  await controlPlane.kubectl(['apply', '-k', path.join(base, '../crds')]);
  await controlPlane.kubectl(['apply', '-f', path.join(base, 'registration-policy.yaml')]);
}

/** Installs a signer with a pool (a new one by default), starts it, and waits until it is ready. */
export async function startInstalledSigner(
  controlPlane: ControlPlane,
  options: {
    pool?: PoolDocument;
    flags?: readonly string[];
    reach?: Parameters<typeof installSigner>[1];
  } = {},
): Promise<SignerProcess> {
  const kubeconfig = await installSigner(controlPlane, options.reach);
  await putPool(controlPlane, options.pool ?? (await aPool()));
  const signer = await startSigner({ kubeconfig, ...(options.flags && { flags: options.flags }) });
  await signer.ready();
  return signer;
}

/** A pool with one new authority, as `kubespiffe ca create` makes it. */
export async function aPool(wishes: Partial<NewAuthority> = {}): Promise<PoolDocument> {
  const trustDomain = wishes.trustDomain ?? 'example.org';
  const now = Math.floor(Date.now() / 1000);
  return newPool(trustDomain, await createAuthority({ id: '1', trustDomain, now, ...wishes }));
}

/** Puts the pool Secret, whether it is there or not. A string is stored in place of a document, as it is. */
export async function putPool(
  controlPlane: ControlPlane,
  pool: PoolDocument | string,
  namespace = 'kubespiffe',
): Promise<void> {
  const secrets = secretsIn(namespace);
  const data =
    typeof pool === 'string'
      ? { [poolSecret.key]: Buffer.from(pool).toString('base64') }
      : serializePool(pool);
  const secret = {
    metadata: { name: 'kubespiffe-pool', namespace },
    type: poolSecret.type,
    data,
  };
  const created = await controlPlane.request('POST', secrets, secret);
  if (created.status === 201) return;
  const replaced = await controlPlane.request('PUT', `${secrets}/kubespiffe-pool`, secret);
  if (replaced.status !== 200) throw new Error(`the pool could not be put: ${JSON.stringify(replaced.body)}`);
}

export async function deletePool(controlPlane: ControlPlane): Promise<void> {
  await controlPlane.request('DELETE', `${secretsIn('kubespiffe')}/kubespiffe-pool`);
}
