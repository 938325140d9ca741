import type { IncomingMessage } from 'node:http';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import type { Presented } from '../caller/credential.ts';
import { peerCertificate } from './client-tls.ts';

/** @param asksForCertificates whether the server was made to ask its clients for certificates. */
export function presentedBy(request: IncomingMessage, asksForCertificates: boolean): Checked<Presented> {
  const [authorization, another] = authorizationsOf(request.rawHeaders);
  if (another !== undefined) return refuse('CredentialsRepeated', 'two Authorization headers');
  if (!asksForCertificates) return pass({ authorization });
  const certificate = peerCertificate(request.socket);
  return certificate.ok ? pass({ authorization, peer: { certificate: certificate.value } }) : certificate;
}

/** All of them: of several Node keeps the first and says nothing. @param rawHeaders name, value, name, value … */
function authorizationsOf(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization');
}
