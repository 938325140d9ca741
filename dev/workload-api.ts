import { EventEmitter } from 'node:events';
import { publishedJwtKeys } from '../signer/authority/published-content.ts';
import { describe } from '../signer/observe/checked.ts';
import type { TokenService } from '../signer/token/svid/jwt-service.ts';
import { KubespiffeError } from '../spiffe/errors.ts';
import { parseSpiffeId } from '../spiffe/id.ts';
import { listen } from '../workload/api/listen.ts';
import { createWorkloadApi } from '../workload/api/server.ts';
import { createWorkloadSource } from '../workload/api/workload-source.ts';
import type { SourceEvents } from '../workload/follow.ts';
import type { JwtSource } from '../workload/jwt-source.ts';
import type { BundleSource, TrustBundles } from '../workload/trust-bundle.ts';
import { openX509Source } from '../workload/x509-source.ts';
import type { Authorities } from './authorities.ts';
import type { ServiceAccountTokens } from './service-account-token.ts';
import type { Workload } from './workload.ts';

/** The JWT keys of the pool, for the Workload API: the folders hold roots only. */
export function createKeySource(trustDomain: string, authorities: Authorities): BundleSource {
  const events = new EventEmitter<SourceEvents>().setMaxListeners(0);
  const read = (): TrustBundles => {
    const keys = publishedJwtKeys(authorities.current()).map(
      ({ kid, publicKey }) => [kid, publicKey] as const,
    );
    return new Map([[trustDomain, { roots: [], jwtKeys: new Map(keys) }]]);
  };
  let bundles = read();
  authorities.onChange(() => {
    bundles = read();
    events.emit('update');
  });
  return {
    get bundles() {
      return bundles;
    },
    events,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Serves the Workload API of one workload, as the sidecar does in a pod, until the signal is aborted. @throws what `listen` throws. */
export async function serveWorkloadApi(
  workload: Workload,
  needs: {
    readonly keys: BundleSource;
    readonly issueToken: TokenService;
    readonly tokens: ServiceAccountTokens;
    readonly log: (line: string) => void;
  },
  signal: AbortSignal,
): Promise<void> {
  const source = await openX509Source(workload.folder, { signal });
  const onProblem = ({ message }: KubespiffeError) => needs.log(`warning: ${message}`);
  const followed = createWorkloadSource({
    credentials: [{ source, hint: '' }],
    bundles: [needs.keys],
    tokensOf: () => tokensOf(workload, needs),
    onProblem,
  });
  await listen(createWorkloadApi({ source: followed, onProblem }), workload.socket, signal);
}

/** JWT-SVIDs from the token service itself, without its endpoint. */
function tokensOf(
  workload: Workload,
  { issueToken, tokens }: { readonly issueToken: TokenService; readonly tokens: ServiceAccountTokens },
): Pick<JwtSource, 'get' | 'events'> {
  return {
    events: new EventEmitter<SourceEvents>(),
    async get(audiences) {
      const token = await tokens.make(workload, 0);
      const request = { credential: { kind: 'token', token } as const, audiences: [audiences].flat() };
      const issued = await issueToken(request, { path: '', address: '', startedAt: 0, caller: undefined });
      if (!issued.ok) throw new KubespiffeError('TOKEN_REFUSED', describe(issued));
      const id = parseSpiffeId(issued.value.spiffeId);
      if (!id.ok) throw new KubespiffeError('SPIFFE_ID_INVALID', id.reason);
      return { token: issued.value.token, id: id.value, expiresAt: issued.value.notAfter };
    },
  };
}
