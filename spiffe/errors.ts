/**
 * Every coded error of the project. The code is for programs and for the documentation
 * (docs/reference/outcomes.md has a heading for each); the message is a sentence for people: what was wrong,
 * with what, and what to do. Neither ever holds a key, a token or a whole object.
 */
export type ErrorCode =
  /** One or more settings are wrong; the message lists each with its place and a hint. */
  | 'CONFIG_INVALID'
  /** A SPIFFE ID or a trust domain name that the SPIFFE-ID standard does not allow. */
  | 'SPIFFE_ID_INVALID'
  /** Bytes that are not the DER they should be. */
  | 'DER_INVALID'
  /** Text that is not the PEM it should be. */
  | 'PEM_INVALID'
  /** A key of an algorithm, curve or size that we do not serve. */
  | 'KEY_UNSUPPORTED'
  /** A key outside of the pool that cannot be used now: its token, module or cloud service does not answer, or refuses. */
  | 'KEY_UNAVAILABLE'
  /** A certificate that cannot be read or does not fit its role. */
  | 'CERTIFICATE_INVALID'
  /** A pool Secret whose content cannot be used. */
  | 'POOL_INVALID'
  /** A pool that does not exist. */
  | 'POOL_MISSING'
  /** A trust bundle that cannot be used. */
  | 'BUNDLE_INVALID'
  /** Credentials of a workload that cannot be used: no X509-SVID with its key, or expired. */
  | 'SVID_INVALID'
  /** A peer that was not accepted: no valid X509-SVID, or one with an ID that is not authorized. */
  | 'PEER_REFUSED'
  /** A bundle endpoint that could not be reached, or did not prove to be the right one, or answered with an error. */
  | 'BUNDLE_UNREACHABLE'
  /** A Workload API could not be reached, refused a call, or sent a response that cannot be used. */
  | 'WORKLOAD_API_UNAVAILABLE'
  /** A token that is no valid JWT-SVID for who asks. */
  | 'TOKEN_INVALID'
  /** A token endpoint could not be reached, or gave no token or certificate. */
  | 'TOKEN_REFUSED'
  /** A certificate or validation context that Envoy got and cannot use. */
  | 'SECRET_REJECTED'
  /** A file that could not be written. */
  | 'FILE_UNWRITABLE'
  /** A program could not be made to reload its files: no such process, no permission, or its command failed. */
  | 'RELOAD_FAILED'
  /** Something exists already and would have been overwritten. */
  | 'ALREADY_EXISTS'
  /** The API server answered with an error status. */
  | 'API_STATUS'
  /** The API server could not be reached, or the connection broke. */
  | 'API_UNREACHABLE'
  /** The API server does not serve a resource that we need. */
  | 'API_NOT_SERVED'
  /** A command was used wrongly. */
  | 'USAGE';

/** Base of all errors that we raise on purpose. */
export class KubespiffeError extends Error {
  readonly code: ErrorCode;
  /** What the person can do about it. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { readonly hint?: string }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.hint = options?.hint;
  }
}

/**
 * The message of anything that was thrown. Without what Node.js advises on itself where a root is not known: which roots
 * count is said by our flags and settings, and those of the machine are among them where any are to be.
 */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(
    /; if the root CA is installed locally, try running Node\.js with --use-system-ca/,
    '',
  );
}
