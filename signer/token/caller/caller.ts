/** The pod that a credential proves, and what Events and audit lines say of it. */
export interface ProvedOwner {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  /** By which others name the credential too: `jti` of a token (empty for tokens without), serial of a certificate. */
  readonly id: string;
}

/** Whose request it is, once that is proved. Whether the pod may have anything is another question. */
export interface Caller extends ProvedOwner {
  /** Where the pod runs, as far as the credential says. */
  readonly node?: { readonly name: string; readonly uid: string };
  /** When the credential ends, seconds since the epoch: nothing that it gives may outlive it. */
  readonly expiresAt: number;
  /** Absent: by a token, about which the API server was asked. */
  readonly provedBy?: 'certificate';
  /** The SPIFFE ID that the credential itself carries, if it does: it has to be the one that its pod has now. */
  readonly spiffeId?: string;
}
