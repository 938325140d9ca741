import { hash } from 'node:crypto';
import type { JwtBundleKey } from '../../spiffe/bundle.ts';
import { thumbprintOf } from '../../spiffe/jwk.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';

/** What one other cluster of this trust domain publishes. */
export interface Sibling {
  readonly roots: readonly CertificateFacts[];
  readonly jwtKeys: readonly JwtBundleKey[];
}

/**
 * What the other clusters of this trust domain publish: each has a pool of its own, and verifies what the others issue.
 * Replaced as a whole when something changes.
 */
export interface Siblings extends Sibling {
  /** SHA-256, in hex, over the fingerprints of the roots, the kids, and the thumbprints of their keys; empty where there is nothing. */
  readonly content: string;
}

/** What federation brings to what is published, as this replica knows it. What is not known must not shrink anything. */
export interface FederationView {
  /** Undefined while they are not known. */
  siblings(): Siblings | undefined;
  /** The roots of other trust domains, PEM, by their names. Undefined while they are not known. */
  peers(): ReadonlyMap<string, string> | undefined;
  /** Calls the listener when one of these may have changed. */
  onChange(listener: () => void): void;
}

export const noSiblings: Siblings = { roots: [], jwtKeys: [], content: '' };

export const noPeers: ReadonlyMap<string, string> = new Map();

/** A trust domain with one cluster, which knows no other. */
export const withoutFederation: FederationView = {
  siblings: () => noSiblings,
  peers: () => noPeers,
  onChange: () => undefined,
};

/**
 * Each root and each kid once, in an order that does not depend on which cluster has it. If two keys have one kid, the
 * key with the lower thumbprint is taken, so that all replicas take the same. Pure.
 */
export function joinSiblings(all: Iterable<Sibling>): Siblings {
  const roots = new Map<string, CertificateFacts>();
  const keys = new Map<string, { readonly key: JwtBundleKey; readonly thumbprint: string }>();
  for (const sibling of all) {
    for (const root of sibling.roots) roots.set(root.sha256Hex, root);
    for (const key of sibling.jwtKeys) {
      const thumbprint = thumbprintOf(key.jwk);
      const other = keys.get(key.kid);
      if (!other || thumbprint < other.thumbprint) keys.set(key.kid, { key, thumbprint });
    }
  }
  if (roots.size + keys.size === 0) return noSiblings;
  const names = { roots: [...roots.keys()].sort(), keys: [...keys.keys()].sort() };
  // Most kids are the thumbprint. What is said twice would only change the digest between two releases.
  const prints = names.keys.map((kid) => {
    const { thumbprint } = keys.get(kid) ?? {};
    return thumbprint === kid ? kid : [kid, thumbprint];
  });
  return {
    roots: names.roots.flatMap((name) => roots.get(name) ?? []),
    jwtKeys: names.keys.flatMap((name) => keys.get(name)?.key ?? []),
    content: hash('sha256', JSON.stringify([names.roots, prints]), 'hex'),
  };
}

/** The view of a replica that federates: nothing is known before its source is set. */
export function createFederationView() {
  const listeners: (() => void)[] = [];
  let read: Pick<FederationView, 'siblings' | 'peers'> | undefined;
  return {
    siblings: () => read?.siblings(),
    peers: () => read?.peers(),
    onChange: (listener: () => void) => void listeners.push(listener),
    set(source: Pick<FederationView, 'siblings' | 'peers'>) {
      read = source;
    },
    changed() {
      for (const listener of listeners) listener();
    },
  };
}
