import { join } from 'node:path';
import type { PoolDocument } from '../../signer/authority/document.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import {
  endpointAudience,
  startTokenSigner,
  type TokenSigner,
  x509Audience,
} from '../contract/token-endpoint.ts';
import { type BenchCluster, makePlace } from './cluster.ts';
import type { Place } from './place.ts';
import { connectionsTo, residentMegabytes } from './process-figures.ts';
import { settled } from './runs.ts';
import { type CertificateRound, measureCertificates } from './token-certificates.ts';
import { type LargeCertificates, measureLargeCertificates } from './token-large-certificates.ts';
import type { TokenLoadCalls, TokenLoadResult } from './token-load.ts';
import type { SigningCalls } from './token-signing.ts';
import { startWorker, type Worker } from './worker.ts';

export interface TokenSizes {
  readonly rounds: number;
  /** How long a run with repeated tokens, or of the bundle, takes. */
  readonly seconds: number;
  /** Distinct tokens of a run. */
  readonly tokens: number;
  readonly pods: number;
  readonly soakSeconds: number;
}

/** A run of the load, with the CPU seconds that it cost: all threads, user and system. */
export interface TokenRun extends TokenLoadResult {
  readonly signerCpu: number;
  readonly apiServerCpu: number;
}

export interface TokenRound {
  /** Bare ES256 signatures per CPU second, with both cores busy as they are in the runs. */
  readonly signatures: number;
  readonly repeated: TokenRun;
  /** The API server's own TokenReviews. */
  readonly reviews: TokenRun;
  readonly firstUse: TokenRun;
  /** Certificates over HTTP; each token is reviewed. */
  readonly x509Svids: TokenRun;
  readonly bundle: TokenRun;
}

/** Resident memory of the signer during a load, in megabytes, one value a second, warm-up left out. */
export interface Soak extends TokenLoadResult {
  readonly seconds: number;
  readonly resident: readonly number[];
  /** TCP connections of the signer to the API server: the most seen. */
  readonly connections: number;
}

export interface TokenMeasurements {
  readonly rounds: readonly TokenRound[];
  readonly certificates: readonly CertificateRound[];
  readonly largeCertificates: LargeCertificates;
  readonly soak: Soak;
}

export interface TokenBench {
  readonly cluster: BenchCluster;
  readonly place: Place;
  readonly pool: PoolDocument;
  readonly signer: TokenSigner;
  readonly load: Worker<TokenLoadCalls>;
}

const rbac = join(import.meta.dirname, '../../manifests/token-endpoint/rbac.yaml');
/** The limits per pod and per address are for callers, not for a load from one address with few pods. */
export const unlimited = ['--token-pod-rate', '1000000', '--token-address-rate', '1000000'];
/** Share of a soak during which V8 still compiles and the caches fill. */
const warmUp = 0.1;

/** Measures the token endpoint of one signer: rounds whose runs stand beside each other, then its memory. */
export async function measureTokens(
  cluster: BenchCluster,
  sizes: TokenSizes,
  say: (line: string) => void,
): Promise<TokenMeasurements> {
  const { controlPlane } = cluster;
  await controlPlane.kubectl(['apply', '-f', rbac]);
  const place = await makePlace(controlPlane, 'tokens');
  const pool = await readPool(cluster);
  const flags = [...unlimited, '--x509-svid', 'true'];
  const signer = await startTokenSigner({ kubeconfig: cluster.signerKubeconfig, pool }, { flags });
  const load = startWorker<TokenLoadCalls>(join(import.meta.dirname, 'token-load.ts'));
  const bench = { cluster, place, pool, signer, load };
  try {
    await signer.signer.ready();
    const ca = pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    await load.call('open', {
      kubeconfig: controlPlane.kubeconfig,
      signerKubeconfig: cluster.signerKubeconfig,
      place,
      endpoint: { host: '127.0.0.1', port: signer.port, servername: 'localhost', ca },
      audience: endpointAudience,
      x509Audience,
      pods: sizes.pods,
    });
    say('tokens: warming up');
    await load.call('repeated', { seconds: sizes.seconds / 2 });
    await load.call('makeTokens', { count: sizes.tokens });
    await load.call('firstUse', undefined);
    const rounds: TokenRound[] = [];
    while (rounds.length < sizes.rounds) {
      say(`tokens: round ${rounds.length + 1} of ${sizes.rounds}`);
      rounds.push(await measureRound(bench, sizes));
    }
    say('tokens: with certificates in place of ServiceAccount tokens');
    const certificates = await measureCertificates(bench, sizes);
    say('tokens: with client certificates far larger than those of pods');
    const largeCertificates = await measureLargeCertificates(bench);
    say(`tokens: memory during ${sizes.soakSeconds} s of load`);
    return { rounds, certificates, largeCertificates, soak: await measureSoak(bench, sizes.soakSeconds) };
  } finally {
    load.stop();
    signer.agent.destroy();
    await signer.signer.child.stop();
  }
}

async function measureRound(bench: TokenBench, { seconds, tokens }: TokenSizes): Promise<TokenRound> {
  const { load } = bench;
  const distinct = async <T>(run: () => Promise<T>, forX509 = false) => {
    await load.call('makeTokens', { count: tokens, forX509 });
    await settled(bench);
    return run();
  };
  const signatures = await signaturesPerCpuSecond(seconds / 2);
  const repeated = await measured(bench, () => load.call('repeated', { seconds }));
  const reviews = await distinct(() => measured(bench, () => load.call('reviews', undefined)));
  const firstUse = await distinct(() => measured(bench, () => load.call('firstUse', undefined)));
  const x509Svids = await distinct(() => measured(bench, () => load.call('x509Svids', undefined)), true);
  const bundle = await measured(bench, () => load.call('bundle', { seconds: seconds / 2 }));
  return { signatures, repeated, reviews, firstUse, x509Svids, bundle };
}

export async function measured(bench: TokenBench, run: () => Promise<TokenLoadResult>): Promise<TokenRun> {
  const used = () => ({
    signer: bench.signer.signer.child.cpuSeconds(),
    apiServer: bench.cluster.controlPlane.cpuSeconds().apiserver,
  });
  const before = used();
  const result = await run();
  const after = used();
  return {
    ...result,
    signerCpu: after.signer - before.signer,
    apiServerCpu: after.apiServer - before.apiServer,
  };
}

/** A core does less while its neighbour works too, so there are two signers at once, as in the runs. */
export async function signaturesPerCpuSecond(seconds: number): Promise<number> {
  const file = join(import.meta.dirname, 'token-signing.ts');
  const signers = [startWorker<SigningCalls>(file), startWorker<SigningCalls>(file)];
  const rates = await Promise.all(signers.map((signer) => signer.call('signatures', { seconds })));
  for (const signer of signers) signer.stop();
  return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}

async function measureSoak({ cluster, signer, load }: TokenBench, seconds: number): Promise<Soak> {
  const resident: number[] = [];
  const { pid } = signer.signer.child;
  const port = Number(new URL(cluster.controlPlane.url).port);
  let connections = 0;
  const sampler = setInterval(() => {
    resident.push(residentMegabytes(pid).now);
    connections = Math.max(connections, connectionsTo(pid, port));
  }, 1_000);
  const result = await load.call('mixed', { seconds });
  clearInterval(sampler);
  return { ...result, seconds, connections, resident: resident.slice(Math.floor(resident.length * warmUp)) };
}

async function readPool({ controlPlane, pool }: BenchCluster): Promise<PoolDocument> {
  const [namespace, name] = pool.split('/');
  const { body } = await controlPlane.request('GET', `/api/v1/namespaces/${namespace}/secrets/${name}`);
  const read = readPoolDocument(poolJsonIn(body) ?? '');
  if (!read.ok) throw new Error(read.problem.message);
  return read.document;
}
