import packageJson from '../package.json' with { type: 'json' };
import type { Config } from './config/config.ts';
import type { Federation } from './federation/federation.ts';
import { createOpener } from './keys/openers.ts';
import { createRemoteKeys } from './keys/remote-keys.ts';
import type { Credentials } from './kube/credentials.ts';
import type { Health } from './observe/health.ts';
import type { Traces } from './observe/otlp.ts';
import type { Signer } from './signers/create-signer.ts';
import type { Part } from './signers/profile.ts';
import type { Shared } from './signers/shared.ts';
import { type createFederationView, noPeers } from './trust/siblings.ts';

/**
 * The parts of a replica that only some configurations have. Their code is loaded only where they are configured: the
 * HTTP framework of the endpoints alone costs some 30 MB of resident memory.
 */

/** A key outside of the pool that takes longer, in milliseconds, counts as lost. */
const keyTimeoutMs = 10_000;

/** The keys of authorities that are kept outside of their pools. */
export function remoteKeysOf(
  { keyBackends, pkcs11Module, pkcs11PinFile, keyConcurrency: concurrency }: Config,
  env: NodeJS.ProcessEnv,
  { metrics, log, time }: Pick<Shared, 'metrics' | 'log' | 'time'>,
) {
  return createRemoteKeys({
    open: createOpener({
      backends: keyBackends,
      pkcs11: { module: pkcs11Module, pinFile: pkcs11PinFile, concurrency, env },
    }),
    concurrency,
    timeoutMs: keyTimeoutMs,
    onSigned: ({ backend }, outcome, seconds) =>
      metrics.keySignSeconds.observe({ backend, outcome }, seconds),
    onState({ uri }, problem) {
      if (problem === undefined) log.info({ key: uri }, 'a key outside of the pool can be used');
      else log.warn({ key: uri, problem }, 'a key outside of the pool cannot be used');
    },
    time,
  });
}

/** Where spans are recorded; undefined if no collector is configured. */
export async function tracesOf(
  { tracesEndpoint: endpoint, tracesRatio: ratio, replica }: Config,
  needs: Pick<Shared, 'metrics' | 'log' | 'time'>,
): Promise<Traces | undefined> {
  if (endpoint === undefined) return undefined;
  const { createTraces } = await import('./observe/otlp.ts');
  return createTraces({ ...needs, endpoint, ratio, replica, version: packageJson.version });
}

/** Other trust domains, for the pods of the signer that the token endpoint uses too. */
export async function federationOf(
  shared: Shared,
  federated: ReturnType<typeof createFederationView> | undefined,
  signers: readonly Signer[],
): Promise<Federation | undefined> {
  const signer = signers.find(({ profile }) => profile.hasTokenEndpoint);
  if (!federated || !signer) return undefined;
  const { createFederation } = await import('./federation/federation.ts');
  const { bundles, pool, profile } = signer;
  return createFederation({
    ...shared,
    federated,
    bundles,
    pool: pool.current,
    signerName: profile.signerName,
  });
}

/** The HTTP listeners that are configured. Each has its line in readiness from now on. */
export async function listenersFor(
  shared: Shared,
  signers: readonly Signer[],
  health: Health,
  {
    credentials,
    transport,
    federation,
  }: { credentials: Credentials; federation: Federation | undefined } & Pick<Shared, 'transport'>,
): Promise<readonly Part[]> {
  const { endpoints: settings, trustDomain, federateByDefault } = shared.config;
  const signer = signers.find(({ profile }) => profile.hasTokenEndpoint);
  if (!settings || !signer) return [];
  const { createEndpoints } = await import('./token/endpoints.ts');
  const listeners = createEndpoints({
    ...shared,
    settings,
    trustDomain,
    ...{ transport, federateByDefault },
    peers: federation?.documents ?? (() => noPeers),
    authorization: credentials.authorization,
    pods: shared.pods.store,
    ...{ pool: signer.pool, publication: signer.publication },
    authority: signer.mayUse,
    profile: signer.certificate,
    identify: signer.identify,
    clockProblem: shared.clock.problem,
    onState: health.set,
  });
  for (const { name } of listeners) health.set(name, false, 'not checked yet');
  return listeners;
}
