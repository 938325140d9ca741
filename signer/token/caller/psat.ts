import { isJsonObject, type JsonObject } from '../../../spiffe/json.ts';
import {
  isJwtAlgorithm,
  type JwtAlgorithmName,
  serviceAccountAlgorithms,
} from '../../../spiffe/jwt-algorithms.ts';
import { audiencesOf } from '../../../spiffe/jwt-svid.ts';
import { type Checked, pass, type Refused, refuse } from '../../observe/checked.ts';
import type { Caller, ProvedOwner } from './caller.ts';

/** The parts of a projected ServiceAccount token that matter to us. Times in seconds since the epoch. */
export interface Psat extends Caller {
  /** `system:serviceaccount:NAMESPACE:NAME` */
  readonly subject: string;
  readonly notBefore: number;
}

/** How far another clock may be ahead of or behind ours, in seconds. */
export const toleranceSeconds = 60;
/** Longest token in characters. A PSAT has about 1,300, one with the longest names and RSA 4096 some 3,000. */
export const maxTokenLength = 8192;

const algorithms: ReadonlySet<string> = new Set(serviceAccountAlgorithms);
/** Other members (RFC 7515 4.1) would change how a token is verified, or where its key comes from. */
const headerMembers = new Set(['alg', 'kid', 'typ']);

/** Reads the header of a PSAT: `alg` and `kid`, and at most `typ` beside them. Pure. */
export function readPsatHeader(
  header: JsonObject,
): Checked<{ readonly algorithm: JwtAlgorithmName; readonly keyId: string }> {
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string') return refuse('TokenMalformed', 'does not name its algorithm');
  if (/^ML-DSA-\d+$/.test(alg)) return refuse('AlgorithmPostQuantum', alg);
  if (!algorithms.has(alg) || !isJwtAlgorithm(alg)) return refuse('AlgorithmUnsupported', shown(alg));
  const unknown = Object.keys(header).find((name) => !headerMembers.has(name));
  if (unknown !== undefined) {
    return refuse('TokenMalformed', `has ${shown(unknown)} in its header, which Kubernetes does not write`);
  }
  if (typ !== undefined && typ !== 'JWT') return refuse('TokenMalformed', 'is of another type than JWT');
  // KEP-740 allows external signers key ids of up to 1 KiB.
  if (typeof kid !== 'string' || !/^[\x21-\x7e]{1,1024}$/.test(kid)) {
    return refuse('TokenMalformed', 'does not name its key (kid)');
  }
  return pass({ algorithm: alg, keyId: kid });
}

/**
 * Reads the claims of a PSAT and checks what can be checked without the cluster: issuer, audience, times, that it
 * belongs to a pod, and that its claims agree with each other. Pure.
 *
 * @param policy audience: the only one that a token may have. @param now seconds since the epoch.
 */
export function readPsat(
  claims: JsonObject,
  policy: { readonly audience: string; readonly issuers: ReadonlySet<string> },
  now: number,
): Checked<Psat> {
  // Such a token has no end and, until TokenReview sees its Secret, nothing but a name.
  if (claims.iss === 'kubernetes/serviceaccount' || 'kubernetes.io/serviceaccount/namespace' in claims) {
    return refuse('LegacyToken');
  }
  if (typeof claims.iss !== 'string') return refuse('ClaimsMalformed', 'iss');
  if (!policy.issuers.has(claims.iss)) return refuse('IssuerUnknown', shown(claims.iss, issuerForm));
  const audiences = audiencesOf(claims);
  if (!audiences && claims.aud !== undefined) return refuse('ClaimsMalformed', 'aud');
  // A token that others accept as well is one that those others could use here.
  if (audiences?.length !== 1 || audiences[0] !== policy.audience) {
    return refuse('AudienceWrong', policy.audience);
  }
  const times = readTimes(claims, now);
  if (!times.ok) return times;
  const bound = readBinding(claims);
  if (!bound.ok) return bound;
  if (claims.jti !== undefined && typeof claims.jti !== 'string') return refuse('ClaimsMalformed', 'jti');
  return pass({ ...bound.value, ...times.value, id: claims.jti ?? '', provedBy: 'token' });
}

/**
 * The pod that the claims of a token name; undefined where they name none, or contradict each other. It is proved only
 * if a key of the API server has signed the token and the issuer is that of this cluster. Pure.
 */
export function ownerOf(claims: JsonObject): ProvedOwner | undefined {
  const bound = readBinding(claims);
  if (!bound.ok) return undefined;
  const { namespace, serviceAccount, pod } = bound.value;
  return { namespace, serviceAccount, pod, id: typeof claims.jti === 'string' ? claims.jti : '' };
}

/** Whether the times of a token allow its use now. */
export function checkTimes(token: Pick<Psat, 'expiresAt' | 'notBefore'>, now: number): Refused | undefined {
  // No tolerance at the end: what we issue may not outlive the token, so there would be nothing to issue.
  if (now >= token.expiresAt) return refuse('TokenExpired');
  if (now + toleranceSeconds < token.notBefore) return refuse('TokenNotYetValid');
  return undefined;
}

function readTimes(claims: JsonObject, now: number): Checked<Pick<Psat, 'expiresAt' | 'notBefore'>> {
  const { exp, iat, nbf } = claims;
  if (!isTime(exp)) return refuse('ClaimsMalformed', 'exp');
  if (!isTime(iat)) return refuse('ClaimsMalformed', 'iat');
  if (nbf !== undefined && !isTime(nbf)) return refuse('ClaimsMalformed', 'nbf');
  const times = { expiresAt: exp, notBefore: Math.max(iat, nbf ?? iat) };
  return checkTimes(times, now) ?? pass(times);
}

/** Whole seconds, as Kubernetes writes them, before the year 10000. */
function isTime(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 253_402_300_800;
}

type Binding = Pick<Psat, 'subject' | 'namespace' | 'serviceAccount' | 'pod' | 'node'>;

function readBinding(claims: JsonObject): Checked<Binding> {
  const own = claims['kubernetes.io'];
  if (!isJsonObject(own)) {
    return own === undefined
      ? refuse('NotBoundToPod', 'it has no claims of Kubernetes')
      : refuse('ClaimsMalformed', 'kubernetes.io');
  }
  const serviceAccount = readReference(own.serviceaccount);
  if (typeof own.namespace !== 'string' || !serviceAccount) return refuse('ClaimsMalformed', 'kubernetes.io');
  if (own.pod === undefined || own.pod === null) {
    const other = ['secret', 'node'].find((kind) => own[kind] !== undefined);
    return refuse('NotBoundToPod', other ? `it is bound to a ${other}` : 'it is bound to nothing');
  }
  const pod = readReference(own.pod);
  if (!pod) return refuse('ClaimsMalformed', 'kubernetes.io');
  const subject = `system:serviceaccount:${own.namespace}:${serviceAccount.name}`;
  if (claims.sub !== subject) return refuse('ClaimsMalformed', 'sub');
  const node = readReference(own.node);
  return pass({ subject, namespace: own.namespace, serviceAccount, pod, ...(node && { node }) });
}

function readReference(value: unknown): { name: string; uid: string } | undefined {
  if (!isJsonObject(value)) return undefined;
  const { name, uid } = value;
  return typeof name === 'string' && typeof uid === 'string' && name !== '' && uid !== ''
    ? { name, uid }
    : undefined;
}

/** Issuers as clusters have them. */
const issuerForm = /^(?=.{1,150}$)https?:\/\/[a-z0-9.-]{1,80}(:\d{1,5})?(\/[\w-]{1,40})*\/?$/;

/** A value of an unverified token, if it looks like a name. Refusals are logged, and it may be anything. */
function shown(text: string, form = /^[\w#-]{1,12}$/): string {
  return form.test(text) ? text : 'text that is not a name';
}
