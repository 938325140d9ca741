import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { compactVerify, SignJWT } from 'jose';
import type { Time } from '../signer/kube/time.ts';
import { refuse } from '../signer/observe/checked.ts';
import type { Authenticated } from '../signer/token/caller/caller.ts';
import { readPsat, readPsatHeader } from '../signer/token/caller/psat.ts';
import { ownAudiences } from '../spiffe/infrastructure.ts';
import { parseJwt } from '../spiffe/jwt-svid.ts';
import type { Workload } from './workload.ts';

/** Stands for the API server, which signs the ServiceAccount tokens of pods and reviews them. */
export interface ServiceAccountTokens {
  /** A token for the token endpoint, as a pod projects it. It lives ten minutes at least, as in a cluster. */
  make(workload: Workload, lifetimeSeconds: number): Promise<string>;
  verify(token: string): Promise<Authenticated>;
}

const issuer = 'https://kubernetes.default.svc.cluster.local';
const keyId = 'dev';
const minLifetimeSeconds = 600;

export function createServiceAccountTokens(needs: {
  readonly trustDomain: string;
  readonly time: Pick<Time, 'now'>;
}): ServiceAccountTokens {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const audience = ownAudiences(needs.trustDomain).token;
  const issuers = new Set([issuer]);
  const seconds = () => Math.floor(needs.time.now() / 1000);

  return {
    make({ namespace, serviceAccount, pod }, lifetimeSeconds) {
      const now = seconds();
      return new SignJWT({
        iss: issuer,
        sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
        aud: [audience],
        ...{ iat: now, nbf: now, exp: now + Math.max(lifetimeSeconds, minLifetimeSeconds) },
        jti: randomUUID(),
        'kubernetes.io': { namespace, serviceaccount: serviceAccount, pod },
      })
        .setProtectedHeader({ alg: 'ES256', kid: keyId })
        .sign(privateKey);
    },
    async verify(token) {
      const jwt = parseJwt(token);
      if (!jwt.ok) return refuse('TokenMalformed', `cannot be read: ${jwt.reason}`);
      const header = readPsatHeader(jwt.value.header);
      if (!header.ok) return header;
      try {
        await compactVerify(token, publicKey, { algorithms: ['ES256'] });
      } catch {
        return refuse('SignatureInvalid');
      }
      return readPsat(jwt.value.claims, { audience, issuers }, seconds());
    },
  };
}
