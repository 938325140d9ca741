import { type AuthorityRecord, hasKey } from '../../signer/authority/document.ts';
import {
  allOf,
  defaultJwtPropagation,
  jwtPropagationSeconds,
  jwtSigningAt,
  signingAuthorityAt,
  signsFrom,
  usualRootPropagationSeconds,
} from '../../signer/authority/may-sign.ts';
import {
  type JwtAuthority,
  type Pool,
  type PooledAuthority,
  parsePool,
} from '../../signer/authority/pool.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import type { PoolProblem } from '../../signer/authority/problem.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { isPublished } from '../../signer/authority/states.ts';
import type { Secret } from '../../signer/kube/types.ts';
import { checkAuthority } from '../../spiffe/conformance.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { subjectText } from '../output.ts';

const usualJwtPropagationSeconds = jwtPropagationSeconds(defaultJwtPropagation);

export interface AuthorityReport {
  id: string;
  kind: string;
  state: string;
  tainted: boolean;
  signs: boolean;
  hasPrivateKey: boolean;
  /** Since when it no longer signs; null while it signs, or where that is not known. */
  deactivatedAt: string | null;
  keyType: string | null;
  /** When the first certificate of the chain ends; null for JWT keys, which do not end. */
  notAfter: string | null;
  /** JWT keys only. */
  kid: string | null;
  /** From when on an active authority may sign, by the usual delays; null where that is not known. */
  signsFrom: string | null;
  root: ReturnType<typeof certificateReport> | null;
  intermediates: ReturnType<typeof certificateReport>[];
  /** What is unusual, and which SPIFFE clauses the certificates do not fulfil. */
  warnings: string[];
}

/** What `ca show` says; no private key is in it. */
export interface PoolReport {
  namespace: string;
  name: string;
  trustDomain: string | null;
  sequence: number | null;
  canSign: boolean;
  problems: PoolProblem[];
  authorities: AuthorityReport[];
}

/** Judges a pool as the signer does, at `now` in seconds. Without a trust domain the pool's own is taken. */
export function reportOf(
  secret: Secret,
  options: { namespace: string; name: string; trustDomain?: string },
  now: number,
): PoolReport {
  const { namespace, name } = options;
  const read = readPoolDocument(poolJsonIn(secret) ?? '');
  const document = read.ok ? read.document : undefined;
  const trustDomain = options.trustDomain ?? document?.trustDomain;
  const parsed = parsePool(secret, { trustDomain, now });
  const pool: Pool | undefined = parsed.pool;
  const signing = pool && signingAuthorityAt(pool, now, usualRootPropagationSeconds);
  const problems = [
    parsed.ok ? undefined : parsed.problem,
    signing?.ok === false ? signing.problem : undefined,
  ];
  const unique = new Map(problems.flatMap((problem) => (problem ? [[problem.message, problem]] : [])));
  return {
    namespace,
    name,
    trustDomain: document?.trustDomain ?? null,
    sequence: document?.sequence ?? null,
    canSign: signing?.ok === true,
    problems: [...unique.values()],
    authorities: (document?.authorities ?? []).map((record) => {
      const jwt = pool?.jwt.find((each) => each.id === record.id);
      if (pool && jwt) return { ...blankReport(record), ...jwtReport(pool, jwt, now) };
      const authority = pool?.authorities.find((each) => each.id === record.id);
      const isActive = authority?.state === 'active';
      return {
        ...blankReport(record),
        ...x509Report(record, authority, trustDomain),
        signs: signing?.ok === true && signing.authority.id === record.id,
        signsFrom: pool && isActive ? startOf(pool, authority, usualRootPropagationSeconds) : null,
      };
    }),
  };
}

/** What is known of an authority of any kind, whether it can be read or not. */
function blankReport(record: AuthorityRecord): AuthorityReport {
  const { id, kind, state, tainted, deactivatedAt = null } = record;
  return {
    ...{ id, kind, state, tainted, signs: false, hasPrivateKey: hasKey(record), deactivatedAt },
    ...{ keyType: null, notAfter: null, kid: null, signsFrom: null },
    ...{ root: null, intermediates: [], warnings: [] },
  };
}

function x509Report(
  record: AuthorityRecord,
  authority: PooledAuthority | undefined,
  trustDomain: string | undefined,
): Partial<AuthorityReport> {
  const waiting = record.request === undefined ? [] : [`waits for its certificate; ${answerHint(record.id)}`];
  if (!authority) return { warnings: waiting };
  const { root, intermediates, keyType, warnings } = authority;
  const chain = [...intermediates, root];
  const unfulfilled = (trustDomain === undefined ? [] : chain).flatMap((certificate) =>
    checkAuthority(certificate, trustDomain ?? '')
      .filter((finding) => !finding.ok)
      .map((finding) => `${finding.clause}: ${finding.message}`),
  );
  return {
    keyType,
    notAfter: rfc3339(Math.min(...chain.map((each) => each.notAfter))),
    root: certificateReport(root),
    intermediates: intermediates.map(certificateReport),
    warnings: [...waiting, ...warnings, ...new Set(unfulfilled)],
  };
}

/** From when on an active authority may sign. */
function startOf(
  pool: Pool,
  authority: PooledAuthority | JwtAuthority,
  propagationSeconds: number,
): string | null {
  const from = signsFrom(allOf(pool), authority, propagationSeconds);
  return from === undefined ? null : rfc3339(from);
}

const answerHint = (id: string) =>
  `have the request of \`kubespiffe ca csr\` signed, and import the answer with \`kubespiffe ca import --request ${id}\``;

const withoutRs256 =
  'the discovery document lists no RS256, which OpenID Connect Discovery demands and some clouds need; add a key with ' +
  '`kubespiffe ca add-jwt-key --type rs256`';

function jwtReport(pool: Pool, authority: JwtAuthority, now: number): Partial<AuthorityReport> {
  const { signingKey, keyType, kid, algorithm } = authority;
  const signing = jwtSigningAt(pool, algorithm, now, usualJwtPropagationSeconds);
  const isActive = pool.activeJwt(algorithm) === authority;
  const listsRs256 = pool.jwt.some((each) => each.algorithm === 'RS256' && isPublished(each.state));
  return {
    ...{ signs: isActive && signing.ok, hasPrivateKey: signingKey !== undefined, keyType, kid },
    signsFrom: isActive ? startOf(pool, authority, usualJwtPropagationSeconds) : null,
    warnings: [
      ...(isActive && !signing.ok ? [signing.problem.message] : []),
      ...(isActive && !listsRs256 ? [withoutRs256] : []),
    ],
  };
}

/** A certificate of a pool, for people and programs. */
function certificateReport(facts: CertificateFacts) {
  return {
    subject: subjectText(facts),
    sha256: facts.sha256Hex,
    serial: facts.serialHex,
    spiffeId: facts.uris[0] ?? null,
    notBefore: rfc3339(facts.notBefore),
    notAfter: rfc3339(facts.notAfter),
  };
}
