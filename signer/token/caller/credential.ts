import { type Checked, pass, refuse } from '../../observe/checked.ts';

/** What a request shows beside its body. */
export interface Presented {
  /** The one Authorization header. */
  readonly authorization: string | undefined;
  /** Absent unless the listener asks for client certificates. */
  readonly peer?: { readonly certificate: Uint8Array | undefined } | undefined;
}

/** A ServiceAccount token, or the client certificate (DER) of the TLS connection. */
export type Credential =
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'certificate'; readonly der: Uint8Array };

/** The one credential beside the body of a request: a client certificate, or a ServiceAccount token as Bearer. Pure. */
export function credentialOf({ authorization, peer }: Presented): Checked<Credential> {
  if (peer?.certificate) {
    return authorization === undefined
      ? pass({ kind: 'certificate', der: peer.certificate })
      : refuse('CredentialsRepeated', 'a client certificate and an Authorization header');
  }
  if (peer && authorization === undefined) return refuse('CredentialMissing');
  const token = bearerOf(authorization);
  return token.ok ? pass({ kind: 'token', token: token.value }) : token;
}

/** The ServiceAccount token of an Authorization header (RFC 6750 2.1). Pure. */
export function bearerOf(authorization: string | undefined): Checked<string> {
  const [, token] = /^Bearer ([!-~]+)$/i.exec(authorization ?? '') ?? [];
  return token === undefined ? refuse('TokenMissing', 'Authorization: Bearer') : pass(token);
}
