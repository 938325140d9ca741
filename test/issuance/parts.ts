import { randomBytes } from 'node:crypto';
import { reserveNothing } from '../../signer/authority/reservations.ts';
import { podFacts } from '../../signer/identity/facts.ts';
import { type Identify, identify } from '../../signer/identity/identify.ts';
import { createController } from '../../signer/issuance/controller.ts';
import type { Guard } from '../../signer/issuance/guard.ts';
import { createReporter } from '../../signer/issuance/report.ts';
import type { CertificateRequest } from '../../signer/issuance/request.ts';
import { createSigning, type SigningNeeds } from '../../signer/issuance/signing.ts';
import { createStatusWriter } from '../../signer/issuance/status.ts';
import { createEventRecorder } from '../../signer/kube/events.ts';
import type { Membership } from '../../signer/kube/membership.ts';
import type { PodFacts } from '../../signer/kube/pods.ts';
import type { Store } from '../../signer/kube/store.ts';
import type { Time } from '../../signer/kube/time.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import type { CertificatesVersion } from '../../signer/kube/types.ts';
import type { AuditRecord } from '../../signer/observe/audit.ts';
import type { Logger } from '../../signer/observe/log.ts';
import { createMetrics } from '../../signer/observe/metrics.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';

export interface PartsNeeds {
  readonly self: string;
  readonly time: Time;
  readonly transport: Transport;
  readonly requests: Store<CertificateRequest>;
  readonly pods: Store<PodFacts>;
  readonly servedVersions: () => readonly CertificatesVersion[];
  readonly members: Pick<Membership, 'members' | 'onChange'>;
  readonly refusal: Guard['refusal'];
  readonly signable: SigningNeeds['pool']['signable'];
  /** Nothing is recorded unless it is given. */
  readonly reserve?: SigningNeeds['pool']['reserve'];
  /** The default identity unless it is given. */
  readonly identify?: Identify;
  readonly isPublished: () => boolean;
  readonly clockProblem: () => string | undefined;
  readonly audit: (record: AuditRecord) => void;
  readonly onError: (error: unknown) => void;
  readonly concurrency?: number;
  readonly maxOpenOfPod?: number;
}

/** What one replica issues certificates with, joined as in main.ts: all of it is the real code. */
export function createParts(needs: PartsNeeds) {
  const { self, time, transport, requests, pods, servedVersions, clockProblem, onError } = needs;
  const log = { debug() {}, info() {}, warn() {}, error() {} } as unknown as Logger;
  const metrics = createMetrics();
  const events = createEventRecorder({
    transport,
    controller: 'kubespiffe.io/signer',
    instance: self,
    log,
    time,
  });
  const signing = createSigning({
    pool: { signable: needs.signable, reserve: needs.reserve ?? reserveNothing },
    visibility: () => ({ place: 'the bundle', isVisible: needs.isPublished }),
    clockProblem,
    policy: { maxLifetimeSeconds: 86_400, refreshFraction: 0.5, refreshJitter: 0 },
    profile: svidProfile,
    randomBytes,
    time,
  });
  const controller = createController({
    requests,
    pods,
    transport,
    servedVersions,
    rediscover: () => undefined,
    membership: { ...needs.members, self, synced: Promise.resolve(), run: async () => undefined },
    facts: podFacts(pods),
    guard: { refusal: needs.refusal },
    signing,
    status: createStatusWriter(transport, self),
    report: createReporter({
      ...{ log, metrics, events, signerName: 'kubespiffe.io/spiffe' },
      audit: (record) => needs.audit(record as AuditRecord),
    }),
    metrics,
    signerName: 'kubespiffe.io/spiffe',
    identify: needs.identify ?? ((pod) => identify(pod, { trustDomain: 'example.org' })),
    takeoverDelayMs: 1000,
    ...(needs.maxOpenOfPod !== undefined && { maxOpenOfPod: needs.maxOpenOfPod }),
    concurrency: needs.concurrency ?? 4,
    concurrencyOfNamespace: () => Number.POSITIVE_INFINITY,
    onError,
    time,
  });
  return { controller, events, metrics };
}
