import { type AuthorityHistory, authorityHistory } from '../../signer/authority/history.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import type { Timing } from '../../signer/authority/ready.ts';
import { authorityKinds } from '../../signer/authority/states.ts';
import type { EndpointConfig } from '../../signer/config/endpoints.ts';
import { timingOf } from '../../signer/config/rotation.ts';
import { shownSince } from '../../signer/trust/added-at.ts';
import { bundleName, toObservedBundle } from '../../signer/trust/bundle.ts';
import { type PoolReport, reportOf } from '../pool/pool-report.ts';
import { describeNext } from '../pool/rotation-text.ts';
import type { ClusterRead, Part, PoolRead } from './read.ts';

/** A pool as people see it. No key is in it. */
export interface PoolView extends PoolReport {
  readonly histories: readonly AuthorityHistory[];
  /** What comes next for each kind. */
  readonly next: readonly { readonly kind: string; readonly step: string }[];
}

/** A pool, or why it cannot be shown. */
export interface PoolPart {
  readonly pool: string;
  readonly signers: readonly string[];
  readonly view: Part<PoolView>;
}

/** The pools of the signers, as `ca show` and `ca status` judge them. Pure. */
export function poolsIn({ pools, world, bundles, now }: ClusterRead): PoolPart[] {
  const { endpoints } = world.settings.config;
  return pools.map((pool) => {
    const names = pool.signers.map(({ profile, settings }) =>
      bundleName(profile.signerName, settings.bundleSuffix),
    );
    const live = bundles.filter(({ metadata }) => names.includes(metadata.name)).map(toObservedBundle);
    return {
      pool: `${pool.place.namespace}/${pool.place.name}`,
      signers: pool.signers.map(({ profile }) => profile.signerName),
      view: viewOf(pool, endpoints?.token, { now, shownSince: shownSince(live, now) }),
    };
  });
}

function viewOf(
  { place, signers, secret }: PoolRead,
  token: EndpointConfig['token'],
  { now, shownSince }: { readonly now: number } & Pick<Timing, 'shownSince'>,
): Part<PoolView> {
  if (!secret.ok) return secret;
  if (!secret.value) return { ok: false, why: `there is no Secret ${place.namespace}/${place.name}` };
  const settings = signers.map((signer) => signer.settings);
  const trustDomain = settings.find((each) => each.trustDomain !== undefined)?.trustDomain;
  const report = reportOf(secret.value, { ...place, ...(trustDomain !== undefined && { trustDomain }) }, now);
  const read = readPoolDocument(poolJsonIn(secret.value) ?? '');
  if (!read.ok) return { ok: true, value: { ...report, histories: [], next: [] } };
  const { document } = read;
  const slowest = {
    maxLifetimeSeconds: Math.max(...settings.map((each) => each.maxLifetimeSeconds)),
    rootPropagationSeconds: Math.max(...settings.map((each) => each.rootPropagationSeconds)),
  };
  const facts = { now, timing: { ...timingOf(slowest, token), ...(shownSince && { shownSince }) } };
  const signer = { rotation: settings[0]?.rotation, timing: facts.timing };
  const kinds = authorityKinds.filter((kind) => document.authorities.some((each) => each.kind === kind));
  return {
    ok: true,
    value: {
      ...report,
      histories: document.authorities.map((each) => authorityHistory(each, document, facts)),
      next: kinds.map((kind) => ({ kind, step: describeNext(document, kind, facts, signer) })),
    },
  };
}
