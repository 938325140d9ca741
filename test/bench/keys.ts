import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { waitFor } from '../cluster/process.ts';
import { isSoftHsmInstalled, makeSoftHsm, type SoftHsm } from '../keys/soft-hsm.ts';
import { type KeyRates, measureKeyRates } from './key-rates.ts';
import type { LoadResult } from './load.ts';
import { type Bench, cleanUp } from './runs.ts';
import { startBenchSigner } from './signers.ts';

export interface KeysSizes {
  /** How long each rate is measured. */
  readonly seconds: number;
  readonly requests: number;
}

/** A burst that a replica answers with a slow token. */
export interface SlowToken extends LoadResult {
  /** Signatures under way at once. */
  readonly concurrency: number;
  /** How often readiness was looked at during the burst, and how often it said no. */
  readonly looks: number;
  readonly notReady: number;
  /** Writes of the record of what the CA has signed, from the start of the replica to the end of the burst. */
  readonly recordWrites: number;
}

export interface Keys {
  readonly rates: KeyRates;
  readonly slowToken: SlowToken;
}

/** So few that the token is the limit, and not the API server. */
const concurrency = 4;
const kubespiffe = join(import.meta.dirname, '../../bin/kubespiffe');

/**
 * Keys outside of the pool, in SoftHSM2. It leaves the pool with a CA whose key is gone, so nothing may follow that signs.
 *
 * @returns undefined where SoftHSM2 or the packages of key-backends are not installed.
 */
export async function measureKeys(
  bench: Bench,
  sizes: KeysSizes,
  say: (line: string) => void,
): Promise<Keys | undefined> {
  if (!isSoftHsmInstalled()) return undefined;
  const hsm = makeSoftHsm();
  try {
    say('signatures by a key in a PKCS#11 token');
    const rates = await measureKeyRates(hsm, sizes.seconds);
    say(`a burst of ${sizes.requests} with a slow PKCS#11 token`);
    return { rates, slowToken: await burstBy(bench, hsm, sizes.requests) };
  } finally {
    hsm.remove();
  }
}

async function burstBy(bench: Bench, hsm: SoftHsm, count: number): Promise<SlowToken> {
  const { cluster, load } = bench;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  hsm.put('bench-hsm', pem, '0e');
  const token = ['--pkcs11-module', hsm.module, '--pkcs11-pin-file', hsm.pinFile];
  const flags = ['--key-backends', 'pkcs11', '--key-concurrency', String(concurrency), ...token];
  const signer = await startBenchSigner(cluster, { flags });
  try {
    const at = ['--kubeconfig', cluster.controlPlane.kubeconfig];
    const ca = (...words: string[]) => promisify(execFile)(kubespiffe, ['ca', ...words, ...at]);
    const ref = ['--key-ref', 'pkcs11:token=kubespiffe;object=bench-hsm'];
    await ca('prepare', '--ca-id', 'bench-hsm', ...ref, ...token);
    await ca('trust', 'bench-hsm');
    const activate = () => ca('activate', 'bench-hsm', '--propagation-delay', '0s');
    await waitFor('the CA with its key in the token to be active', () => activate().then(() => true), {
      timeoutMs: 30_000,
    });
    await waitFor('the signer to use it', () => usesOnly(signer.process, 'bench-hsm'));
    hsm.setMood('slow');
    await load.call('prepare', { count, ceiling: false });
    let [looks, notReady, isOver] = [0, 0, false];
    const looking = (async () => {
      while (!isOver) {
        looks += 1;
        if (!(await signer.process.readiness()).ok) notReady += 1;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    const result = await load.call('burst', undefined).finally(() => {
      isOver = true;
    });
    await looking;
    hsm.setMood('well');
    const recordWrites = await signer.process.metric('kubespiffe_api_requests_total', {
      ...{ verb: 'PATCH', resource: 'configmaps' },
    });
    return { ...result, concurrency, looks, notReady, recordWrites };
  } finally {
    await signer.stop();
    await cleanUp(bench);
  }
}

/** Whether the replica has seen that this authority signs, and can use its key. */
async function usesOnly(
  signer: { metric(name: string, labels: Record<string, string>): Promise<number> },
  id: string,
) {
  const isActive = await signer.metric('kubespiffe_authority_expiry_timestamp_seconds', {
    ...{ authority: id, state: 'active' },
  });
  const canSign = await signer.metric('kubespiffe_can_sign', {
    kind: 'x509',
    signer: 'kubespiffe.io/spiffe',
  });
  return isActive > 0 && canSign === 1;
}
