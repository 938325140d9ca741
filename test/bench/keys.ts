// How many signatures a second a key outside of the pool gives, and what a key in memory gives beside it:
// node test/bench/keys.ts. The token is SoftHSM2 in a process of its own, once as it is and once with 20 ms for each
// signature, for which the limit is concurrency / latency.
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { parseKeyRef } from '../../signer/keys/key-ref.ts';
import { pkcs11Opener } from '../../signer/keys/pkcs11.ts';
import { createRemoteKey } from '../../signer/keys/remote-key.ts';
import { realTime } from '../../signer/kube/time.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { certificateSigner, type SigningKey } from '../../spiffe/pki/sign.ts';
import { makeSoftHsm } from '../keys/soft-hsm.ts';

const seconds = 4;
const latencyMs = 20;
const content = Buffer.alloc(400, 'x');

const hsm = makeSoftHsm();
process.once('exit', () => hsm.remove());
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
hsm.put('ca-1', pem, '01');

/** Keeps so many signatures under way. @returns signatures per second, and CPU seconds of this process for each 1,000. */
async function measure(key: SigningKey, underWay: number): Promise<{ rate: number; cpuMs: number }> {
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
  return { rate: count / ((performance.now() - startedAt) / 1000), cpuMs: (user + system) / count };
}

const rows: Record<string, string | number>[] = [];
const inMemory = await measure(certificateSigner(createPrivateKey(pem)), 1);
rows.push({
  key: 'in memory',
  concurrency: 1,
  perSecond: Math.round(inMemory.rate),
  cpuMs: inMemory.cpuMs / 1000,
});

const ref = parseKeyRef('pkcs11:token=kubespiffe;object=ca-1');
if (!ref.ok) throw new Error(ref.reason);
for (const mood of ['well', 'slow'] as const) {
  for (const concurrency of [1, 16, 32]) {
    const key = createRemoteKey(ref.value, createPublicKey(privateKey), keyTypes['ecdsa-p256'], {
      open: pkcs11Opener({ module: hsm.module, pinFile: hsm.pinFile, concurrency, env: process.env }),
      concurrency,
      timeoutMs: 10_000,
      onSigned: () => undefined,
      onState: () => undefined,
      time: realTime,
    });
    key.problem();
    await key.tend();
    hsm.setMood(mood);
    const { rate, cpuMs } = await measure(key, concurrency * 2);
    const limit = (concurrency / latencyMs) * 1000;
    rows.push({
      key: mood === 'slow' ? `SoftHSM2 with ${latencyMs} ms` : 'SoftHSM2',
      concurrency,
      perSecond: Math.round(rate),
      cpuMs: cpuMs / 1000,
      ...(mood === 'slow' && { ofLimit: Math.round((rate / limit) * 100) / 100 }),
    });
    key.close();
    hsm.setMood('well');
  }
}
console.table(rows);
