import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { type AuthorityRecord, hasKey, type PoolDocument } from './document.ts';
import { lastSigner } from './last-signer.ts';
import { delayOf, isBelowStolen, isSigning, isStandby, readyFrom, standbys, type Timing } from './ready.ts';
import { isUnpublished, type RotationStep } from './rotation.ts';
import { marginSeconds, type RotationPolicy } from './rotation-policy.ts';
import { type AuthorityKind, authorityKinds, isJwtKind } from './states.ts';
import { endOf, neededUntil } from './transitions.ts';

/** What a rotation by policy does next. `blocked` is for a step that needs a person. */
export type PolicyStep =
  | RotationStep
  | { readonly kind: 'change'; readonly verb: 'preview' | 'remove'; readonly id: string }
  | {
      readonly kind: 'wait';
      readonly for: 'prepare' | 'trust' | 'remove';
      readonly id: string;
      readonly until: Seconds;
    }
  | { readonly kind: 'blocked'; readonly what: string; readonly remedy: string };

interface Facts {
  readonly now: Seconds;
  readonly timing: Timing;
  readonly policy: RotationPolicy;
}

/** Another CA may need people to approve a request. */
const upstreamLeadSeconds = 7 * marginSeconds;

/** A step, and from when on it is right. */
interface Planned {
  readonly step: Exclude<PolicyStep, { kind: 'wait' }>;
  readonly for: Extract<PolicyStep, { kind: 'wait' }>['for'];
  readonly id: string;
  readonly from: Seconds;
}

/** The kinds of authorities that a pool rotates: those that sign, have signed, or are in reserve. */
export function rotatedKinds(document: PoolDocument): readonly AuthorityKind[] {
  const isInReserve = ({ state, tainted, ...rest }: AuthorityRecord) =>
    state === 'trusted' && !tainted && hasKey(rest);
  return authorityKinds.filter(
    (kind) =>
      kind === 'X509' ||
      lastSigner(document, kind) !== undefined ||
      document.authorities.some((each) => each.kind === kind && isInReserve(each)),
  );
}

/**
 * The steps of one kind that are right at `now`, from what the pool says, in this order: another authority signs, the next
 * one is made and published, an old one goes. Where the first cannot be taken, the others still can. If there are none, the
 * result is the earliest wait, or nothing.
 *
 * @param now seconds since the epoch.
 */
export function policySteps(
  document: PoolDocument,
  kind: AuthorityKind,
  facts: Facts,
): readonly PolicyStep[] {
  const planned = [
    ...successorSteps(document, kind, facts),
    ...document.authorities
      .filter((each) => each.kind === kind)
      .flatMap((each) => leaving(each, document, facts)),
  ];
  const due = planned.filter(({ from }) => from <= facts.now);
  if (due.length > 0) return due.map(({ step }) => step);
  const [next] = planned.filter(({ from }) => Number.isFinite(from)).toSorted((a, b) => a.from - b.from);
  return next ? [{ kind: 'wait', for: next.for, id: next.id, until: Math.ceil(next.from) }] : [];
}

/** The first of policySteps: the one that is shown. */
export function policyStep(
  document: PoolDocument,
  kind: AuthorityKind,
  facts: Facts,
): PolicyStep | undefined {
  return policySteps(document, kind, facts)[0];
}

/** When the next authority of a kind is to sign; at once where none signs. */
export function nextSignsFrom(document: PoolDocument, kind: AuthorityKind, facts: Facts): Seconds {
  const active = document.authorities.find((each) => each.kind === kind && each.state === 'active');
  return active ? switchFrom(active, document, facts) : 0;
}

/** From when on another authority should sign: at once where the active one lacks its key, or it or its root is tainted. */
function switchFrom(active: AuthorityRecord, document: PoolDocument, facts: Facts): Seconds {
  if (active.tainted || !hasKey(active) || isBelowStolen(active, document)) return 0;
  const { policy } = facts;
  if (isJwtKind(active.kind)) return signsSince(active) + policy.jwtActivateAfterSeconds;
  return Math.min(signsSince(active) + policy.activateAfterSeconds, lastSwitch(active, document, facts));
}

/** The time after which the certificates of a CA would have to be shorter than they may be. */
function lastSwitch(
  record: AuthorityRecord,
  { trustDomain }: PoolDocument,
  { timing }: Pick<Facts, 'timing'>,
): Seconds {
  return (endOf(record, trustDomain) ?? Number.POSITIVE_INFINITY) - timing.certificateSeconds - marginSeconds;
}

/** Makes the next authority, publishes it and lets it sign: what is next of that. */
function successorSteps(document: PoolDocument, kind: AuthorityKind, facts: Facts): readonly Planned[] {
  const { now, policy, timing } = facts;
  const ofKind = document.authorities.filter((each) => each.kind === kind);
  const active = ofKind.find(({ state }) => state === 'active');
  const from = nextSignsFrom(document, kind, facts);
  // One that would have to be replaced at once is good for an emergency only.
  const standby = standbys(kind, document, now, timing).find(
    (each) => isJwtKind(kind) || lastSwitch(each, document, facts) > now,
  );
  if (standby) {
    const { id } = standby;
    const ready = Math.max(from, readyFrom(standby, document, timing));
    return [{ step: { kind: 'change', verb: 'activate', id }, for: 'activate', id, from: ready }];
  }
  const unpublished = ofKind.find(isUnpublished);
  if (unpublished) return [publishing(unpublished, document, facts)];
  const isAsked = kind === 'X509' && policy.hasUpstream === true;
  const last = lastSigner(document, kind);
  if (last?.intermediates?.length && !isAsked) return companyCa(last, from, facts);
  const leadSeconds = (isAsked ? upstreamLeadSeconds : 0) + policy.previewSeconds + delayOf(kind, timing);
  const isWaiting = isAsked && ofKind.some(({ requestedBy }) => requestedBy === 'rotation');
  const prepareFrom = active && !isJwtKind(kind) ? signsSince(active) + policy.prepareAfterSeconds : 0;
  const id = active?.id ?? '';
  const short = isAsked ? ofKind.find((each) => wasTooShort(each, document, facts)) : undefined;
  return [
    {
      step: short ? tooShort(short, document) : { kind: 'prepare' },
      for: 'prepare',
      id,
      from: isWaiting ? 0 : Math.min(prepareFrom, from - leadSeconds),
    },
  ];
}

/** Whether a CA in reserve could not take over even after the lead with which it was asked for: the next one would be like it. */
function wasTooShort(record: AuthorityRecord, document: PoolDocument, facts: Facts): boolean {
  if (!isStandby(record, 'X509', document, facts.now) || record.createdAt === undefined) return false;
  return lastSwitch(record, document, facts) < timeOf(record.createdAt) + upstreamLeadSeconds;
}

function tooShort(record: AuthorityRecord, { trustDomain }: PoolDocument): Planned['step'] {
  const { id } = record;
  const end = rfc3339(endOf(record, trustDomain) ?? 0);
  const what = `authority ${id} is in reserve and ends at ${end}, too early to replace the active one`;
  const remedy = `have the CA above give longer ones, then take it out with \`kubespiffe ca retire ${id}\``;
  return { kind: 'blocked', what, remedy };
}

/**
 * A new root by way of the preview bundle, where the policy wants that. JWT keys have no preview. While nothing can sign,
 * no time is spent on it, because pods would have no certificates for so long.
 */
function publishing(record: AuthorityRecord, document: PoolDocument, { now, policy }: Facts): Planned {
  const { id, state, kind } = record;
  const previewSeconds = isSigning(kind, document, now) ? policy.previewSeconds : 0;
  const isPreviewed = !isJwtKind(kind) && (previewSeconds > 0 || policy.requiresVerification);
  if (state === 'prepared' && isPreviewed) {
    return { step: { kind: 'change', verb: 'preview', id }, for: 'trust', id, from: 0 };
  }
  if (state === 'preview' && policy.requiresVerification && record.verifiedAt === undefined) {
    const what = `the root of authority ${id} is in the preview bundle, and no pod has verified it there`;
    const remedy = `verify it with \`kubespiffe ca verify-preview ${id}\`, or take it back with \`kubespiffe ca remove ${id}\``;
    return { step: { kind: 'blocked', what, remedy }, for: 'trust', id, from: 0 };
  }
  const from = state === 'preview' ? timeOf(record.previewedAt) + previewSeconds : 0;
  return { step: { kind: 'change', verb: 'trust', id }, for: 'trust', id, from };
}

/** The next CA of a company cannot be made here: a new root of ours would be unknown to those who trust its root. */
function companyCa(
  { id }: AuthorityRecord,
  from: Seconds,
  { now, policy, timing }: Facts,
): readonly Planned[] {
  const what = `authority ${id} is below another CA, which has to sign the next one`;
  const when = from <= now ? 'now' : `before ${rfc3339(Math.ceil(from))}`;
  const remedy = `bring in the next CA ${when} (docs/guides/ca.md)`;
  const leadSeconds = upstreamLeadSeconds + policy.previewSeconds + timing.rootPropagationSeconds;
  return [{ step: { kind: 'blocked', what, remedy }, for: 'prepare', id, from: from - leadSeconds }];
}

/** What no longer signs goes once nothing needs it, and its entry once its root has ended. */
function leaving(record: AuthorityRecord, document: PoolDocument, facts: Facts): readonly Planned[] {
  const { id, state, kind } = record;
  const end = endOf(record, document.trustDomain);
  // While nothing signs, the next one is made like the one that signed last.
  if (state === 'retiring' && lastSigner(document, kind) === record) return [];
  if (state === 'retiring' || (state === 'trusted' && end !== undefined && end <= facts.now)) {
    const from = neededUntil(record, document, facts.now, facts.timing) + facts.policy.retireAfterSeconds;
    return [{ step: { kind: 'change', verb: 'retire', id }, for: 'retire', id, from }];
  }
  if (state !== 'retired' || end === undefined) return [];
  return [{ step: { kind: 'change', verb: 'remove', id }, for: 'remove', id, from: end }];
}

/** Where the pool does not say since when an authority signs, it is old. */
function signsSince({ activatedAt, publishedAt, createdAt }: AuthorityRecord): Seconds {
  return timeOf(activatedAt ?? publishedAt ?? createdAt);
}

function timeOf(text: string | undefined): Seconds {
  return text === undefined ? 0 : Date.parse(text) / 1000;
}
