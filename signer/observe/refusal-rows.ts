/** What a row of the table of refusals has, and what rows of the same kind have in common. */

/** What can be requested: a JWT-SVID in two forms, a certificate, a document, or the bundles that a caller may have. */
export type Operation = 'exchange' | 'jwt-svid' | 'x509-svid' | 'document' | 'bundles' | 'bundle-of';
export const jwts: readonly Operation[] = ['exchange', 'jwt-svid'];
export const svids: readonly Operation[] = [...jwts, 'x509-svid'];
/** Where a credential decides about the answer. */
export const callers: readonly Operation[] = [...svids, 'bundles', 'bundle-of'];
export const everything: readonly Operation[] = [...callers, 'document'];

/** RFC 6749 5.2 and RFC 8693 2.2.2; the last two are those of RFC 6749 4.1.2.1. */
export type OAuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_target'
  | 'unsupported_grant_type'
  | 'temporarily_unavailable'
  | 'server_error';

/** `deny`: the same request would be refused again. `wait`: it may be repeated after Retry-After. */
export interface Refusal {
  readonly verdict: 'deny' | 'wait';
  readonly status: number;
  readonly error: OAuthError;
  /** What is wrong; `{}` is replaced by the detail of the case. */
  readonly problem: string;
  /** What the person does about it; begins with a verb. */
  readonly remedy: string;
  /** Whether only a bug of ours or an attack causes it. */
  readonly alarm: boolean;
  /** Where it can occur. */
  readonly at: readonly Operation[];
}

type Row = (problem: string, remedy: string, more?: Partial<Refusal>) => Refusal;

const rowsOf =
  (usual: Pick<Refusal, 'verdict' | 'status' | 'error'> & Partial<Refusal>): Row =>
  (problem, remedy, more) => ({ alarm: false, at: callers, ...usual, problem, remedy, ...more });

const denied = { verdict: 'deny', status: 400, error: 'invalid_request' } as const;
const delayed = { verdict: 'wait', status: 503, error: 'temporarily_unavailable' } as const;

export const deny = rowsOf(denied);
export const client = rowsOf({
  ...denied,
  error: 'invalid_client',
  at: ['jwt-svid', 'bundles', 'bundle-of'],
});
export const target = rowsOf({ ...denied, error: 'invalid_target', at: jwts });
export const wait = rowsOf(delayed);
export const limit = rowsOf({ ...delayed, status: 429 });
