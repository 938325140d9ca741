import type { Change, Refusal } from '../../signer/authority/change.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import type { PoolPlace } from '../../signer/authority/pool-secret.ts';
import { lacksVerification } from '../../signer/authority/preview.ts';
import type { Timing } from '../../signer/authority/ready.ts';
import type { Config } from '../../signer/config/config.ts';
import { type RotationConfig, timingOf } from '../../signer/config/rotation.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi } from '../api.ts';
import type { Terminal } from '../terminal.ts';
import { readSignerSettings, type SettingsOptions } from './signer-settings.ts';

/** What the settings of the signers say of the authorities of their pool. */
export interface PoolSigner {
  readonly rotation: RotationConfig | undefined;
  readonly timing: Timing;
}

/**
 * Reads the settings of the signers of a pool. They are not needed to change it, so where they cannot be read, that is said.
 *
 * @returns undefined where they cannot be read, or are for another pool.
 */
export async function readPoolSigner(
  options: ClusterOptions & SettingsOptions & PoolPlace,
  terminal: Terminal,
): Promise<PoolSigner | undefined> {
  try {
    const { config } = await withApi(options, terminal, (api) => readSignerSettings(api, terminal, options));
    return poolSignerIn(config, options);
  } catch (error) {
    terminal.err(`note: the settings of the signer are not used: ${printable(messageOf(error))}\n`);
    return undefined;
  }
}

/** The rotation is that of the first signer of the pool, as for the signer itself; a root has to wait for all of them. Pure. */
export function poolSignerIn(
  config: Pick<Config, 'signers' | 'endpoints'>,
  { namespace, name }: PoolPlace,
): PoolSigner | undefined {
  const signers = Object.values(config.signers).filter(
    ({ pool }) => pool.namespace === namespace && pool.name === name,
  );
  const [first] = signers;
  if (!first) return undefined;
  const timing = timingOf(first, config.endpoints?.token);
  const rootPropagationSeconds = Math.max(...signers.map((each) => each.rootPropagationSeconds));
  return { rotation: first.rotation, timing: { ...timing, rootPropagationSeconds } };
}

/** The step that brings a root into the live bundles, as the setting caPreviewVerified of the signer allows it. Pure. */
export function onlyVerified(
  trusted: Change | Refusal,
  document: PoolDocument,
  id: string,
  { signer, force }: { readonly signer?: PoolSigner | undefined; readonly force?: true },
): Change | Refusal {
  const refusal = signer?.rotation?.policy.requiresVerification ? lacksVerification(document, id) : undefined;
  if (!trusted.ok || !refusal) return trusted;
  return force ? { ...trusted, consequence: refusal.what } : refusal;
}
