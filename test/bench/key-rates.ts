import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';
import { pkcs11Opener } from '../../signer/keys/pkcs11.ts';
import { createRemoteKey } from '../../signer/keys/remote-key.ts';
import { realTime } from '../../signer/kube/time.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { certificateSigner, type SigningKey } from '../../spiffe/pki/sign.ts';
import type { SoftHsm } from '../keys/soft-hsm.ts';

/** How long the module waits in each signature while it is slow. */
export const slowMs = 20;
const concurrencies = [1, 16, 32];
const content = Buffer.alloc(400, 'x');

interface Rate {
  readonly perSecond: number;
  /** CPU milliseconds of this process for each signature. */
  readonly cpuMs: number;
}

export interface TokenRate extends Rate {
  readonly isSlow: boolean;
  /** How many signatures are under way at once. */
  readonly concurrency: number;
  /** Mean time of a signature, in milliseconds. */
  readonly latencyMs: number;
}

export interface KeyRates {
  readonly inMemory: Rate;
  readonly ofToken: readonly TokenRate[];
}

/** How many signatures a second a key of a PKCS#11 token gives, and beside it a key in memory. ECDSA P-256. */
export async function measureKeyRates(hsm: SoftHsm, seconds: number): Promise<KeyRates> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  hsm.put('rates', pem, '0f');
  const inMemory = await measure(certificateSigner(createPrivateKey(pem)), 1, seconds);
  const ofToken: TokenRate[] = [];
  for (const isSlow of [false, true]) {
    for (const concurrency of concurrencies) {
      ofToken.push(await measureToken(hsm, pem, { isSlow, concurrency, seconds }));
    }
  }
  return { inMemory, ofToken };
}

async function measureToken(
  hsm: SoftHsm,
  pem: string,
  { isSlow, concurrency, seconds }: Pick<TokenRate, 'isSlow' | 'concurrency'> & { readonly seconds: number },
): Promise<TokenRate> {
  const ref = parseKeyRef('pkcs11:token=kubespiffe;object=rates');
  if (!ref.ok) throw new Error(ref.reason);
  const took: number[] = [];
  const key = createRemoteKey(ref.value, createPublicKey(pem), keyTypes['ecdsa-p256'], {
    open: pkcs11Opener({ module: hsm.module, pinFile: hsm.pinFile, concurrency, env: process.env }),
    concurrency,
    timeoutMs: 10_000,
    onSigned: (_ref, _outcome, tookSeconds) => took.push(tookSeconds),
    onState: () => undefined,
    time: realTime,
  });
  try {
    key.problem();
    await key.tend();
    if (isSlow) hsm.setMood('slow');
    took.length = 0;
    // As many wait as are under way, so that no session is ever without work.
    const rate = await measure(key, concurrency * 2, seconds);
    const latencyMs = (took.reduce((sum, each) => sum + each, 0) / took.length) * 1000;
    return { ...rate, isSlow, concurrency, latencyMs };
  } finally {
    hsm.setMood('well');
    key.close();
  }
}

/** Keeps so many signatures under way or waiting. */
async function measure(key: SigningKey, underWay: number, seconds: number): Promise<Rate> {
  const startedAt = performance.now();
  const before = process.cpuUsage();
  const until = startedAt + seconds * 1000;
  let count = 0;
  const worker = async () => {
    while (performance.now() < until) {
      await key.sign(content);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: underWay }, worker));
  const { user, system } = process.cpuUsage(before);
  return {
    perSecond: count / ((performance.now() - startedAt) / 1000),
    cpuMs: (user + system) / 1000 / count,
  };
}
