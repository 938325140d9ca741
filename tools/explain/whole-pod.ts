import { isReason, outcomes } from '../../signer/observe/reasons.ts';
import { allProfiles } from '../../signer/signers/profiles.ts';
import type { SignerEvent } from '../cluster/events.ts';
import type { KnownPod } from '../cluster/pods.ts';
import type { World } from '../cluster/world.ts';
import { explainPod, type SignerExplanation } from './pod.ts';
import { explainRequest, keeps, type ReadRequest, type RequestExplanation, withEvent } from './requests.ts';

/** Everything that decides about the identities of a pod. */
export interface PodExplanation {
  /** `namespace/name` */
  readonly pod: string;
  readonly uid: string;
  readonly settings: { readonly from: string; readonly trustDomain: string };
  readonly signers: readonly SignerExplanation[];
  /** Volumes of the pod that ask a signer that does not decide here, and why not. */
  readonly otherVolumes: readonly {
    readonly volume: string;
    readonly signer: string;
    readonly why: string;
  }[];
  readonly requests: readonly RequestExplanation[];
  readonly events: readonly SignerEvent[];
}

/**
 * Everything that decides about a pod, and what became of its requests. Pure.
 *
 * @param key `namespace/name` @param seen requests and Events; of other pods too. @param seen.signer only this one.
 */
export function explainWholePod(
  world: World,
  key: string,
  facts: KnownPod,
  seen: {
    readonly requests: Iterable<ReadRequest>;
    readonly events: Iterable<SignerEvent>;
    readonly signer?: string;
  },
): PodExplanation {
  const { signer } = seen;
  const { config, from } = world.settings;
  const events = [...seen.events]
    .filter(({ pod, uid }) => pod === key && uid === facts.uid)
    .sort((one, other) => one.at.localeCompare(other.at));
  const made = [...seen.requests].filter(
    ({ wire }) => `${wire.metadata.namespace}/${wire.spec.podName}` === key,
  );
  // A pod that was replaced had the same name.
  const own = new Set(
    made
      .filter(({ wire }) => wire.spec.podUID === facts.uid)
      .map(({ wire: { metadata } }) => `${metadata.namespace}/${metadata.name}`),
  );
  const ofThis = (each: RequestExplanation) => own.has(each.request);
  const all = made.map((request) => explainRequest(request, world)).filter((each) => each !== undefined);
  const requests = all
    .filter((each) => signer === undefined || each.signer === signer)
    .map((each) => withEvent(each, all, events))
    .sort((one, other) => one.createdAt.localeCompare(other.createdAt));
  return {
    pod: key,
    uid: facts.uid,
    settings: { from, trustDomain: config.trustDomain },
    signers: explainPod(world, key, facts, signer).map((each) => withRequests(each, requests.filter(ofThis))),
    otherVolumes: facts.sources.flatMap(({ volume, signerName }) =>
      isEnabled(world, signerName)
        ? []
        : [{ volume, signer: signerName, why: notServed(signerName, from)[0] }],
    ),
    ...{ requests, events },
  };
}

/**
 * What the requests of a pod add: a signer does nothing for a pod that it can name, while a request waits for something
 * else. A pod that it cannot name any more waits only once it asks again.
 */
function withRequests(
  explained: SignerExplanation,
  requests: readonly RequestExplanation[],
): SignerExplanation {
  const { volume, verdict, signer } = explained;
  const asked = requests.filter((request) => request.signer === signer);
  if (volume !== null && verdict.verdict === 'wait') {
    const newest = asked.some(({ state }) => state === 'Open') ? undefined : asked.at(-1);
    if (newest?.state !== 'Issued' || newest.notAfter === null) return explained;
    const { notAfter: keepsUntil } = newest;
    const message = `${verdict.message} ${keeps(keepsUntil)}`;
    return { ...explained, verdict: { ...verdict, message }, keepsUntil };
  }
  if (volume === null || verdict.verdict !== 'issue') return explained;
  const waiting = asked.findLast(({ state }) => state === 'Open');
  if (!waiting || waiting.createdAt < (asked.at(-1)?.createdAt ?? '')) return explained;
  const { reason, message } = waiting;
  if (!isReason(reason) || reason === 'Issued') return explained;
  const { verdict: found, owner } = outcomes[reason];
  return { ...explained, verdict: { verdict: found, reason, message, owner } };
}

/** Whether a signer decides in this cluster. */
export function isEnabled({ signers }: World, signerName: string): boolean {
  return signers.some(({ profile }) => profile.signerName === signerName);
}

/** Why a signer does not decide, and what to do. */
export function notServed(signer: string, settingsFrom: string): [what: string, hint: string] {
  const profile = allProfiles.find(({ signerName }) => signerName === signer);
  if (!profile) {
    const known = allProfiles.map(({ signerName }) => signerName).join(', ');
    return [`${signer} is not a signer of kubespiffe`, `the signers are ${known}`];
  }
  return [
    `${signer} is not enabled in the settings of ${settingsFrom}`,
    `set signers.${profile.name}.enabled to true`,
  ];
}
