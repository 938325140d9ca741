import type { PoolView } from '../authority/view.ts';
import type { Config } from '../config/config.ts';
import type { Guard } from '../issuance/guard.ts';
import type { KeysByRef } from '../keys/remote-keys.ts';
import type { ServerClock } from '../kube/clock.ts';
import type { Discovery } from '../kube/discovery.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Informer, InformerNeeds } from '../kube/informer.ts';
import type { Membership } from '../kube/membership.ts';
import type { Permissions } from '../kube/permissions.ts';
import type { PodFacts, PodReader } from '../kube/pods.ts';
import type { Time } from '../kube/time.ts';
import type { WriteLimit } from '../kube/write-limit.ts';
import type { Audit } from '../observe/audit.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { StartSpan } from '../observe/span.ts';
import type { ConfigMapPublisher } from '../trust/configmap-publisher.ts';
import type { FederationView } from '../trust/siblings.ts';

/** What all signers of a replica use together. */
export interface Shared extends InformerNeeds {
  readonly config: Config;
  readonly discovery: Discovery;
  readonly pods: Informer<PodFacts>;
  /** How `pods` reads them, for those that are read live. */
  readonly podReader: PodReader;
  readonly membership: Membership;
  readonly clock: ServerClock;
  readonly guard: Guard;
  /** One limit for the answers of all signers, which go to the same API server. */
  readonly writeLimit: WriteLimit;
  readonly permissions: Permissions;
  /** Other clusters of the trust domain, and other trust domains. */
  readonly federated: FederationView;
  /** The keys of authorities that are kept outside of their pools. */
  readonly keysByRef: KeysByRef;
  /** By namespace/name of the Secret: signers of the same pool share its view. */
  readonly pools: Map<string, PoolView>;
  /** The ConfigMaps with the roots of a pool, which signers of the same pool share. */
  readonly rootsConfigMaps: Map<PoolView, RootsConfigMaps>;
  /** What identities depend on, by its declaration: signers that follow the same resource share its informer. */
  readonly informers: Map<object, Informer<unknown>>;
  readonly events: EventRecorder;
  readonly audit: Audit;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Undefined where traces are off. */
  readonly startSpan: StartSpan | undefined;
  readonly randomBytes: (count: number) => Uint8Array;
  readonly time: Time;
}

/** The ConfigMaps with the roots of a pool. */
export interface RootsConfigMaps {
  readonly publisher: ConfigMapPublisher;
  readonly informers: readonly Informer<unknown>[];
}
