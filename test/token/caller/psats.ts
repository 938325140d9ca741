import { generateKeyPairSync } from 'node:crypto';
import { createLimiter } from '../../../signer/kube/limiter.ts';
import { createAuthenticator } from '../../../signer/token/caller/authenticate.ts';
import { createIssuerKeys } from '../../../signer/token/caller/issuer-keys.ts';
import { createIssuers } from '../../../signer/token/caller/issuers.ts';
import { createReviewCache } from '../../../signer/token/caller/review-cache.ts';
import { timeWith } from '../../kube/fake-time.ts';
import { createScriptedApi } from '../../kube/scripted-api.ts';
import type { TokenFacts } from './bad-tokens.ts';

const epoch = 1_800_000_000;
const discovery = '/.well-known/openid-configuration';

/** An issuer of ServiceAccount tokens with a key made for this process, and one pod. */
export function someFacts(different: Partial<TokenFacts> = {}): TokenFacts {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: privateKey,
    publicKey,
    kid: 'key-1',
    issuer: 'https://kubernetes.default.svc',
    audience: 'spiffe://example.org/kubespiffe/token-endpoint',
    apiAudience: 'https://kubernetes.default.svc',
    namespace: 'shop',
    serviceAccount: { name: 'web', uid: 'sa-uid' },
    pod: { name: 'web-0', uid: 'pod-uid' },
    now: epoch,
    ...different,
  };
}

/** What the API server answers for a good token of that pod. */
export function goodReview(facts: TokenFacts) {
  return {
    authenticated: true as boolean,
    audiences: [facts.audience],
    user: {
      username: `system:serviceaccount:${facts.namespace}:${facts.serviceAccount.name}`,
      uid: facts.serviceAccount.uid,
      extra: {
        'authentication.kubernetes.io/pod-name': [facts.pod.name],
        'authentication.kubernetes.io/pod-uid': [facts.pod.uid],
      },
    },
  };
}

/**
 * The authenticator with a scripted API server and a clock that tests move. What the real one says to the same tokens
 * is shown in test/contract/token.test.ts.
 */
export function anAuthenticator(facts: TokenFacts) {
  const api = createScriptedApi();
  const jwk = { ...facts.publicKey.export({ format: 'jwk' }), kid: facts.kid, alg: 'ES256', use: 'sig' };
  const script = {
    keys: [jwk] as object[],
    review: goodReview(facts) as object,
    /** What discovery says now. */
    issuer: facts.issuer as string | undefined,
    keysAreDown: false,
    reviewFails: undefined as number | undefined,
    hearsOfPods: true,
    monotonicMs: 0,
    nowMs: facts.now * 1000,
  };
  api.answer = (request) => {
    if (request.path === '/openid/v1/jwks') {
      return script.keysAreDown ? 'broken' : { status: 200, body: { keys: script.keys } };
    }
    if (request.path === discovery) {
      return script.issuer === undefined ? 'broken' : { status: 200, body: { issuer: script.issuer } };
    }
    if (script.reviewFails !== undefined) return { status: script.reviewFails };
    return { status: 201, body: { status: script.review } };
  };
  const time = timeWith({ monotonic: () => script.monotonicMs, now: () => script.nowMs });
  const cache = createReviewCache({ lifetimeMs: 30_000, time });
  const reviews: string[] = [];
  const logged: string[] = [];
  const issuers = createIssuers({
    transport: api.transport,
    authorization: async () => undefined,
    furtherIssuers: [],
    audiences: { token: facts.audience, x509: 'for certificates' },
    facts: { issuers: new Set([facts.issuer]), audiences: new Set([facts.apiAudience]) },
    time,
    log: {
      info: (_, message) => logged.push(message),
      warn: (fields, message) => logged.push(`${message}: ${JSON.stringify(fields)}`),
    },
  });
  const authenticate = createAuthenticator({
    transport: api.transport,
    keys: createIssuerKeys({
      transport: api.transport,
      time,
      log: { warn: () => undefined },
    }),
    cache,
    unpublishedKeys: createLimiter({ perSecond: 2, time }),
    podLimits: createLimiter({ perSecond: 100, time }),
    audience: facts.audience,
    issuers,
    hearsOfPods: () => script.hearsOfPods,
    time,
    onReview: (result) => reviews.push(result),
  });
  const asked = (path: string) => api.requests.filter((request) => request.path === path).length;
  return {
    authenticate,
    script,
    cache,
    reviews,
    issuers,
    logged,
    reviewed: () => asked('/apis/authentication.k8s.io/v1/tokenreviews'),
    fetched: () => asked('/openid/v1/jwks'),
    discovered: () => asked(discovery),
    requests: api.requests,
  };
}
