import type { PoolPlace } from '../../signer/authority/pool-secret.ts';
import type { Config } from '../../signer/config/config.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { settingsOf } from '../../signer/signers/profile.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import { CliError } from '../errors.ts';
import type { Terminal } from '../terminal.ts';
import { readSignerSettings } from './signer-settings.ts';

/**
 * Refuses a new pool of another trust domain than that of its signers: they would never be ready. A pool may be made before
 * the signers, and by people who may not read their settings, so nothing is refused where these are not known.
 *
 * @param trustDomain of the new pool; undefined for none.
 * @throws CliError
 */
export async function requireTrustDomainOfSigners(
  api: Transport,
  terminal: Terminal,
  { namespace, name }: PoolPlace,
  trustDomain: string | undefined,
): Promise<void> {
  const signerDeployment = `${namespace}/kubespiffe-signer`;
  const settings = await readSignerSettings(api, terminal, { signerDeployment }).catch(() => undefined);
  const mismatch = settings && mismatchIn(settings.config, { namespace, name }, trustDomain);
  if (mismatch === undefined) return;
  const what = `the pool would be of ${mismatch.made}, and ${mismatch.signerName} of the Deployment ${signerDeployment} is of ${mismatch.wanted}`;
  throw new CliError('POOL_INVALID', what, mismatch.remedy);
}

/** The first signer of a pool that is of another trust domain. Pure. */
export function mismatchIn(
  config: Config,
  { namespace, name }: PoolPlace,
  trustDomain: string | undefined,
): { signerName: string; made: string; wanted: string; remedy: string } | undefined {
  for (const profile of allProfiles) {
    const { enabled, pool, trustDomain: wanted } = settingsOf(config, profile);
    if (!enabled || pool.namespace !== namespace || pool.name !== name || wanted === trustDomain) continue;
    const remedy =
      wanted === undefined
        ? 'make it with --kind service-dns, or give another --name'
        : `make it with --trust-domain ${wanted}; if that is wrong, correct the setting trustDomain of the signer first, or give another --name`;
    return { signerName: profile.signerName, made: nameOf(trustDomain), wanted: nameOf(wanted), remedy };
  }
  return undefined;
}

const nameOf = (trustDomain: string | undefined) =>
  trustDomain === undefined ? 'no trust domain' : `the trust domain ${trustDomain}`;
