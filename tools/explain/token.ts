import { type Checked, type Refused, sentenceOf } from '../../signer/observe/checked.ts';
import { refusals } from '../../signer/observe/refusals.ts';
import { identifyCaller } from '../../signer/token/caller/pods.ts';
import { type Psat, readPsat, readPsatHeader } from '../../signer/token/caller/psat.ts';
import { checkAllowed } from '../../signer/token/svid/audiences.ts';
import { expiryOf } from '../../signer/token/svid/mint-jwt.ts';
import { ownAudiences } from '../../spiffe/infrastructure.ts';
import { checkJwtSvid } from '../../spiffe/jwt-clauses.ts';
import { audiencesOf, type ParsedJwt } from '../../spiffe/jwt-svid.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { allIdentities } from '../cluster/identities.ts';
import type { World } from '../cluster/world.ts';
import { fromNow, span } from '../output.ts';
import { hasName } from '../who/report.ts';
import { type Step, step, type Verdict } from './steps.ts';

/** What the token endpoint makes of a token, or who a JWT-SVID is for. Never holds the token. */
export interface TokenExplanation {
  readonly kind: 'ServiceAccount token' | 'JWT-SVID';
  readonly steps: readonly Step[];
  readonly verdict: Verdict;
  /** The SPIFFE ID that the token gets, or is of; null for none. */
  readonly spiffeId: string | null;
  /** Pods that are meant, as `namespace/name`. */
  readonly pods: readonly string[];
}

export interface TokenWishes {
  /** Seconds since the epoch. */
  readonly now: number;
  /** Audience of the JWT-SVID that would be requested. */
  readonly audience?: string | undefined;
  /** The registration that the request would name. */
  readonly registration?: string | undefined;
}

const claimsOf = 'the claims of the token';

/** What the token endpoint would answer to a ServiceAccount token. Pure. */
export function explainServiceAccountToken(
  { header, claims }: ParsedJwt,
  world: World,
  { now, audience, registration }: TokenWishes,
): TokenExplanation {
  const { config, from } = world.settings;
  const endpoint = config.endpoints?.token;
  const audiences = endpoint?.audiences ?? ownAudiences(config.trustDomain);
  const isForX509 = audiencesOf(claims)?.includes(audiences.x509) ?? false;
  const wanted = isForX509 ? audiences.x509 : audiences.token;
  const steps = [
    step(null, 'signature', 'not verified here; the signer asks the API server about each token'),
  ];
  const stop = (verdict: Verdict): TokenExplanation => {
    return { kind: 'ServiceAccount token', steps, verdict, spiffeId: null, pods: [] };
  };
  const end = (refused: Refused): TokenExplanation => {
    const { code, detail } = refused;
    const message = sentenceOf(code).replace('{}', () => detail);
    steps.push(step(false, 'refusal', code, `docs/reference/token-endpoint.md#${code.toLowerCase()}`));
    return stop({ verdict: refusals[code].verdict, reason: code, message, owner: 'nobody' });
  };

  const read = readPsatHeader(header);
  if (!read.ok) return end(read);
  // Only the API server knows its issuers, and it verifies the issuer together with the signature.
  const issuers = new Set([String(claims.iss)]);
  const psat: Checked<Psat> = readPsat(claims, { audience: wanted, issuers }, now);
  if (!psat.ok) return end(psat);
  const { namespace, pod, expiresAt } = psat.value;
  const key = `${namespace}/${pod.name}`;
  const kind = isForX509 ? 'for X509-SVIDs' : 'for JWT-SVIDs';
  steps.push(
    step(true, 'audience', `${wanted}, ${kind}`, claimsOf),
    step(true, 'expiry', fromNow(expiresAt, now), claimsOf),
  );
  const facts = world.pods.store.get(key);
  const signer = world.signers.find(({ profile }) => profile.hasTokenEndpoint);
  if (!endpoint || !signer || (isForX509 && !endpoint.x509)) {
    const setting = endpoint ? 'x509Svid' : 'tokenAddress';
    const message = `The token endpoint issues nothing ${kind}. Set ${setting}.`;
    steps.push(step(false, 'endpoint', `the setting ${setting} is not set`, from));
    return stop({ verdict: 'wait', reason: 'NotConfigured', message, owner: 'cluster administrator' });
  }
  const lookup = facts ? ({ kind: 'found', pod: facts } as const) : ({ kind: 'gone' } as const);
  const caller = identifyCaller(psat.value, lookup, signer.identify, now, registration);
  if (!caller.ok) return end(caller);
  const { spiffeId, terms } = caller.value;
  const namedBy = terms ? `registration ${terms.registration}` : 'the default identity';
  steps.push(
    step(true, 'pod', `${key} has the UID and the ServiceAccount of the token`, `Pod ${key}`),
    step(true, 'name', spiffeId, namedBy),
  );
  if (terms?.audiences) {
    steps.push(step(null, 'audiences', `only ${terms.audiences.join(', ')}`, namedBy));
  }
  if (audience !== undefined && !isForX509) {
    const bySetting = checkAllowed([audience], endpoint.allowedAudiences, 'the setting jwtAudiences');
    if (!bySetting.ok) return end(bySetting);
    const allowed = checkAllowed([audience], terms?.audiences, `the registration ${terms?.registration}`);
    if (!allowed.ok) return end(allowed);
  }
  const most = isForX509
    ? Math.min(endpoint.x509?.lifetimeSeconds ?? 0, terms?.maxLifetimeSeconds ?? Number.POSITIVE_INFINITY)
    : Math.min(endpoint.lifetimeSeconds, terms?.maxTokenLifetimeSeconds ?? Number.POSITIVE_INFINITY);
  const ends = expiryOf({ now, lifetimeSeconds: most, credentialEndsAt: expiresAt });
  if (!ends.ok) return end(ends);
  steps.push(step(true, 'lifetime', `at most ${span(ends.value - now)}`, from));
  const what = isForX509 ? 'an X509-SVID' : 'a JWT-SVID';
  const message = `${what} for ${spiffeId}, if the API server confirms the token`;
  const verdict: Verdict = { verdict: 'issue', reason: 'Issued', message, owner: 'nobody' };
  return { kind: 'ServiceAccount token', steps, verdict, spiffeId, pods: [key] };
}

/** Who a JWT-SVID is for, and whether its pods still have the name. Pure. */
export function explainJwtSvid(
  jwt: ParsedJwt,
  world: World,
  { now, audience }: TokenWishes,
): TokenExplanation {
  const { trustDomain } = world.settings.config;
  const { sub, aud, exp } = jwt.claims;
  const id = String(sub);
  const broken = checkJwtSvid(jwt, { now, audience, trustDomain }).filter(
    ({ ok, level }) => !ok && level === 'must',
  );
  const holders = allIdentities(world).filter(({ identity }) => identity.ok && hasName(identity.subject, id));
  const pods = [...new Set(holders.map(({ pod }) => pod))];
  const shown = pods.slice(0, 5).join(', ') + (pods.length > 5 ? ` and ${pods.length - 5} others` : '');
  const holding = pods.length > 0 ? `${shown} get this SPIFFE ID now` : 'no pod gets this SPIFFE ID now';
  const steps = [
    step(null, 'signature', 'not verified here; `kubespiffe token --verify` does it with a bundle'),
    step(true, 'name', id, claimsOf),
    step(true, 'audience', [aud].flat().join(', '), claimsOf),
    ...(typeof exp === 'number'
      ? [step(exp > now, 'expiry', `${rfc3339(exp)}, ${fromNow(exp, now)}`, claimsOf)]
      : []),
    ...broken.map(({ clause, message }) => step(false, 'clause', message, clause)),
    step(pods.length > 0, 'pods', holding, 'the decisions of the signer'),
  ];
  const [first] = broken;
  const message = first
    ? `A receiver refuses it: ${first.message}.`
    : 'A receiver accepts it, if its signature is right.';
  const [found, reason] = first ? (['deny', 'NotValid'] as const) : (['issue', 'Valid'] as const);
  const verdict: Verdict = { verdict: found, reason, message, owner: 'nobody' };
  return { kind: 'JWT-SVID', steps, verdict, spiffeId: id, pods };
}
