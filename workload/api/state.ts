import type { KeyObject } from 'node:crypto';

/** An X509-SVID as the Workload API delivers it (SPIFFE Workload API 5.2). All bytes are DER. */
export interface ApiX509Svid {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** The leaf, then the intermediates. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8, not encrypted. */
  readonly key: Uint8Array;
  /** The roots of its trust domain. */
  readonly bundle: readonly Uint8Array[];
  /** Unique among the SVIDs of a workload; empty if it has none. */
  readonly hint: string;
}

export interface ApiJwtSvid {
  readonly spiffeId: string;
  /** In the compact serialisation. */
  readonly token: string;
  readonly hint: string;
}

/** What verifies the JWT-SVIDs of a trust domain. */
export interface ApiJwtBundle {
  /** A JWK set with JWT keys only. */
  readonly jwks: string;
  readonly keys: ReadonlyMap<string, KeyObject>;
}

/** Everything that a workload has at a moment. It is never changed: a new state takes its place. */
export interface WorkloadState {
  /** The first one is the default. Empty where the workload has no identity. */
  readonly svids: readonly ApiX509Svid[];
  /** Its own trust domain and the federated ones, by name such as `example.org`: DER roots. */
  readonly x509Bundles: ReadonlyMap<string, readonly Uint8Array[]>;
  readonly jwtBundles: ReadonlyMap<string, ApiJwtBundle>;
}

/** Where the Workload API gets what it delivers. */
export interface WorkloadSource {
  /** Undefined while nothing is known yet. */
  current(): WorkloadState | undefined;
  /** Calls the listener after each change. @returns a function that ends it. */
  onChange(listener: () => void): () => void;
  /**
   * Undefined where the workload gets no JWT-SVIDs. One JWT-SVID for each identity of the workload, or for the one that is asked
   * for, by the name in the token; empty where it has none such.
   * @throws what prevents it, with a message for people and without a token in it.
   */
  readonly jwtSvids?: (
    audiences: readonly string[],
    spiffeId: string | undefined,
  ) => Promise<readonly ApiJwtSvid[]>;
}
