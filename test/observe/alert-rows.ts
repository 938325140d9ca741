import type { Metrics } from '../../signer/observe/metrics.ts';

/** What happens at a signer in one minute. */
export type Minute = (metrics: Metrics) => void;

const signer = 'kubespiffe.io/spiffe';
const day = 86_400;
const partner = { peer: 'partner.example', resource: 'partner' };

/** A signer with everything in order. Its clock, as that of promtool, begins at 0. */
export const inOrder: Minute = (metrics) => {
  metrics.ready.set(1);
  metrics.admissionPolicyInForce.set({ request_admission: 'policy' }, 1);
  metrics.missingPermissions.set(0);
  for (const kind of ['x509', 'jwt']) metrics.canSign.set({ kind, signer }, 1);
  metrics.oldestPending.set({ signer }, 3);
  metrics.authorityExpiry.set({ authority: 'first', state: 'active', signer }, 365 * day);
  // Retired CAs may end: they sign nothing.
  metrics.authorityExpiry.set({ authority: 'old', state: 'retired', signer }, 0);
  metrics.rotationStep.set({ kind: 'x509', step: 'prepare', signer }, 30 * day);
  metrics.rootsConfigMaps.set({ state: 'published', signer }, 3);
  for (const state of ['foreign', 'failed']) metrics.rootsConfigMaps.set({ state, signer }, 0);
  metrics.federationBundleAge.set(partner, 300);
  metrics.issuance.inc({ outcome: 'issue', reason: 'Issued', signer });
  metrics.issuance.inc({ outcome: 'wait', reason: 'NotRegistered', signer });
  metrics.issuance.inc({ outcome: 'wait', reason: 'ServiceAccountMismatch', signer }, 0);
  for (const answers of [metrics.tokens, metrics.x509Svids]) {
    answers.inc({ outcome: 'issue', reason: 'Issued' });
    answers.inc({ outcome: 'deny', reason: 'AudienceWrong' });
    answers.inc({ outcome: 'deny', reason: 'ReviewDisagrees' }, 0);
    answers.inc({ outcome: 'wait', reason: 'SigningUnavailable' }, 0);
  }
  metrics.otherRefusals.inc({ listener: 'bundle-web', reason: 'RouteUnknown' });
  metrics.otherRefusals.inc({ listener: 'bundle-web', reason: 'InternalError' }, 0);
  metrics.outputLinesDropped.inc({ stream: 'log' });
};

/** What each alert is for, and the labels that its series has. `gone`: the signer is not there at all. */
export const alertRows: Readonly<
  Record<string, { readonly problem: Minute | 'gone'; readonly labels?: Readonly<Record<string, string>> }>
> = {
  KubespiffeAbsent: { problem: 'gone' },
  KubespiffeNotReady: { problem: ({ ready }) => ready.set(0) },
  KubespiffePermissionsMissing: { problem: ({ missingPermissions }) => missingPermissions.set(2) },
  KubespiffeAdmissionPolicyMissing: {
    problem: ({ admissionPolicyInForce }) => admissionPolicyInForce.set({ request_admission: 'policy' }, 0),
    labels: { request_admission: 'policy' },
  },
  KubespiffeCannotSign: {
    problem: ({ canSign }) => canSign.set({ kind: 'jwt', signer }, 0),
    labels: { kind: 'jwt', signer },
  },
  KubespiffeRequestsWait: {
    problem: ({ oldestPending }) => oldestPending.set({ signer }, 61),
    labels: { signer },
  },
  KubespiffeAuthorityEnds: {
    problem: ({ authorityExpiry }) =>
      authorityExpiry.set({ authority: 'first', state: 'active', signer }, 30 * day),
    labels: { authority: 'first', state: 'active', signer },
  },
  KubespiffeRotationLate: {
    problem: ({ rotationStep }) => rotationStep.set({ kind: 'x509', step: 'prepare', signer }, -day),
    labels: { kind: 'x509', step: 'prepare', signer },
  },
  KubespiffeRootsNotWritten: {
    problem: ({ rootsConfigMaps }) => rootsConfigMaps.set({ state: 'foreign', signer }, 1),
    labels: { state: 'foreign', signer },
  },
  KubespiffeFederatedBundleStale: {
    problem: ({ federationBundleAge }) => federationBundleAge.set(partner, day + 1),
    labels: partner,
  },
  KubespiffeFederatedBundleInvalid: {
    problem: ({ federationProblem }) => federationProblem.set({ ...partner, condition: 'BundleInvalid' }, 1),
    labels: { ...partner, condition: 'BundleInvalid' },
  },
  KubespiffeFederatedPeerUnreachable: {
    problem: ({ federationProblem }) => federationProblem.set({ ...partner, condition: 'Unreachable' }, 1),
    labels: { ...partner, condition: 'Unreachable' },
  },
  KubespiffeRequestAlarm: {
    problem: ({ issuance }) => issuance.inc({ outcome: 'wait', reason: 'ServiceAccountMismatch', signer }),
    labels: { outcome: 'wait', reason: 'ServiceAccountMismatch', signer },
  },
  KubespiffeAuditLinesDropped: {
    problem: ({ outputLinesDropped }) => outputLinesDropped.inc({ stream: 'audit' }),
    labels: { stream: 'audit' },
  },
  KubespiffeTokenAlarm: {
    problem: ({ tokens }) => tokens.inc({ outcome: 'deny', reason: 'ReviewDisagrees' }),
    labels: { outcome: 'deny', reason: 'ReviewDisagrees' },
  },
  KubespiffeX509SvidAlarm: {
    problem: ({ x509Svids }) => x509Svids.inc({ outcome: 'deny', reason: 'ReviewDisagrees' }),
    labels: { outcome: 'deny', reason: 'ReviewDisagrees' },
  },
  KubespiffeDocumentError: {
    problem: ({ otherRefusals }) => otherRefusals.inc({ listener: 'bundle-web', reason: 'InternalError' }),
    labels: { listener: 'bundle-web', reason: 'InternalError' },
  },
  KubespiffeTokensNotSigned: {
    problem: ({ tokens }) => tokens.inc({ outcome: 'wait', reason: 'SigningUnavailable' }),
    labels: { outcome: 'wait', reason: 'SigningUnavailable' },
  },
  KubespiffeX509SvidsNotSigned: {
    problem: ({ x509Svids }) => x509Svids.inc({ outcome: 'wait', reason: 'SigningUnavailable' }),
    labels: { outcome: 'wait', reason: 'SigningUnavailable' },
  },
};
