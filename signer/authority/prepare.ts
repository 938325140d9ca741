import { limitsUris } from '../../spiffe/name-constraints.ts';
import { type AuthorityKeyType, authorityKeyTypes, keyTypes } from '../../spiffe/pki/algorithms.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import type { NewKey } from '../keys/new-key.ts';
import { type PooledAuthority, readAuthority } from './authority.ts';
import { type Change, changeOf, fullPool, type Refusal, refusal, withAuthorities } from './change.ts';
import type { NewAuthority } from './create.ts';
import { createJwtAuthority } from './create-jwt.ts';
import { dnsLimitsOf } from './dns-limits.ts';
import { type AuthorityRecord, nextAuthorityId, type PoolDocument } from './document.ts';
import { lastSigner } from './last-signer.ts';
import type { AuthorityKind } from './states.ts';

/**
 * The pool with one more authority, which is in no bundle and signs nothing.
 *
 * @throws KubespiffeError USAGE for an id or a lifetime that is not allowed.
 */
export async function prepareAuthority(
  document: PoolDocument,
  wanted: {
    readonly kind: AuthorityKind;
    readonly now: Seconds;
    /** The next number unless given. */
    readonly id?: string;
    /** X509 only; that of the CA that signs, or signed last, unless given. */
    readonly keyType?: AuthorityKeyType;
    /** A key outside of the pool instead of a new one. */
    readonly key?: NewKey;
    readonly lifetimeSeconds?: number;
    readonly pathLength?: number;
    readonly onlyTrustDomain?: boolean;
    /** X509 only: another CA is to sign it, so it gets a request in place of a certificate. */
    readonly asRequest?: boolean;
    readonly requestedBy?: AuthorityRecord['requestedBy'];
  },
): Promise<Change | Refusal> {
  const { trustDomain, authorities } = document;
  const { kind, now } = wanted;
  const { id = nextAuthorityId(document, kind === 'X509' ? 'ca' : kind.toLowerCase()) } = wanted;
  if (kind !== 'X509' && trustDomain === undefined) {
    const what = 'the pool has no trust domain, so it signs no tokens';
    return refusal(what, 'name the pool of a trust domain with --name');
  }
  if (authorities.some((each) => each.id === id)) {
    return refusal(`there is an authority ${id} already`, 'choose another --ca-id');
  }
  const full = fullPool(document);
  if (full) return full;
  const last = lastSigner(document, kind);
  if (last?.keyRef !== undefined && !wanted.key && !wanted.keyType) {
    const what = `the key of authority ${last.id} is kept outside of the pool (${last.keyRef}), and a new one is not made there`;
    const back = kind === 'X509' ? ', or --key-type for a key in the pool' : '';
    return refusal(what, `make a key there, and name it with --key-ref${back}`);
  }
  const lastX509 = kind === 'X509' ? lastCa(document) : undefined;
  const limits = lastX509 && dnsLimitsOf(lastX509);
  // The CA that answers a request decides on such limits, and those above it still hold.
  if (limits?.ok === false && !wanted.asRequest) {
    const remedy =
      'ask for it with `kubespiffe ca csr`, and have a CA sign the request that sets such limits';
    return refusal(`${limits.reason}, so a next CA with the same limits cannot be made here`, remedy);
  }
  const keptKey = wanted.key && { keptKey: wanted.key };
  const made =
    kind === 'X509'
      ? await makeCa(
          { ...likeLast(lastX509), ...(limits?.ok && limits.value), ...wanted, id, trustDomain },
          wanted.asRequest,
        )
      : await createJwtAuthority({ key: kind === 'JWT-ES256' ? 'es256' : 'rs256', id, now, ...keptKey });
  const { publishedAt: _, activatedAt: __, ...unpublished } = made;
  const prepared: AuthorityRecord = {
    ...{ ...unpublished, state: 'prepared', createdAt: rfc3339(now) },
    ...(wanted.requestedBy && { requestedBy: wanted.requestedBy }),
  };
  return changeOf(document, withAuthorities(document, [...authorities, prepared]), {
    notes: kind === 'X509' && !wanted.asRequest ? notesOf(document) : [],
    // A JWT key that is kept outside may have signed before. A CA has a new certificate in any case.
    made: wanted.key && kind !== 'X509' ? [] : [prepared],
  });
}

/** Loaded where a CA is made: the library for certificates takes 200 ms, and every command and the signer import this file. */
async function makeCa(wanted: NewAuthority, asRequest: boolean | undefined): Promise<AuthorityRecord> {
  if (asRequest) return (await import('./request.ts')).createRequested(wanted);
  return (await import('./create.ts')).createAuthority(wanted);
}

function lastCa(document: PoolDocument): PooledAuthority | undefined {
  const last = lastSigner(document, 'X509');
  const read = last && readAuthority(last, 'authority', document.trustDomain);
  return read?.ok ? read.authority : undefined;
}

/** What the next CA has like the last one, beside the limits on DNS names. */
function likeLast(last: PooledAuthority | undefined): Partial<NewAuthority> {
  const pathLength = last?.signing.pathLen;
  const onlyTrustDomain = last !== undefined && limitsUris(last.signing);
  const keyType = authorityKeyTypes.find((name) => keyTypes[name].name === last?.keyType);
  return {
    ...(keyType && { keyType }),
    ...(pathLength !== undefined && { pathLength }),
    ...(onlyTrustDomain && { onlyTrustDomain }),
  };
}

function notesOf(document: PoolDocument): string[] {
  const last = lastCa(document);
  if (!last || last.intermediates.length === 0) return [];
  return [
    `authority ${last.id} is below another CA, and the new one is a root of its own: those who verify with the roots of ` +
      'that CA need the new root too, or ask that CA for a certificate with `kubespiffe ca csr` instead',
  ];
}
