import { decodePem } from '../../../spiffe/pki/pem.ts';
import { textOf } from '../../../spiffe/pki/text.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import { bearerOf, type Presented } from '../caller/credential.ts';
import { withRegistration } from './exchange.ts';

/** What was asked for, not looked into yet. */
export interface X509Request {
  /** The ServiceAccount token. */
  readonly subjectToken: string;
  /** PKCS#10 request, DER or PEM, as it was sent. */
  readonly body: Uint8Array;
  /** Name of the registration that is meant; undefined for the one that counts for the pod. */
  readonly registration?: string;
}

/**
 * Reads the credential of a request for a certificate: the ServiceAccount token as Bearer, and no certificate, which
 * would renew itself for ever. Pure.
 *
 * @param registration the query parameter of that name.
 */
export function readX509Request(
  body: Uint8Array,
  { authorization, peer }: Presented,
  registration?: unknown,
): Checked<X509Request> {
  if (peer?.certificate) {
    return refuse('CredentialsRepeated', 'a client certificate beside the ServiceAccount token');
  }
  const subjectToken = bearerOf(authorization);
  return subjectToken.ok
    ? withRegistration({ subjectToken: subjectToken.value, body }, registration)
    : subjectToken;
}

/** The second is what old versions of OpenSSL and Windows write (RFC 7468 7). */
const labels = new Set(['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST']);

/**
 * The DER of a PKCS#10 request that is DER or one block of PEM, with or without text around it. Never quotes what was
 * sent, which may be a private key. Pure.
 */
export function pkcs10Of(body: Uint8Array): Checked<Uint8Array> {
  if (body.length === 0) return refuse('CsrUnreadable', 'the body is empty');
  // A SEQUENCE begins with 0x30, which is the digit 0: no PEM block begins so.
  if (body[0] === 0x30) return pass(body);
  const blocks = decodePem(textOf(body));
  if (!blocks.ok) return refuse('CsrUnreadable', blocks.reason);
  const [block, ...others] = blocks.value;
  if (!block || others.length > 0) {
    return refuse('CsrUnreadable', `the body has ${blocks.value.length} PEM blocks`);
  }
  return labels.has(block.label)
    ? pass(block.der)
    : refuse('CsrUnreadable', 'the PEM block is not a CERTIFICATE REQUEST');
}
