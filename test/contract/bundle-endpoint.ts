import 'reflect-metadata';
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import type { Authority } from '../../signer/authority/pool.ts';
import { spiffeSubject } from '../../signer/identity/subject.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { webKeyPair } from '../spiffe/pki/authorities.ts';
import { supportedKey } from '../spiffe/pki/keys.ts';

/** What a server proves itself with, PEM. */
export interface ServerCredentials {
  readonly key: string;
  readonly cert: string;
}

export interface TestEndpoint {
  readonly url: string;
  close(): Promise<void>;
}

/** What is answered to a path; anything else is 404. A list of chunks is sent one by one, as they come. */
export type Answers = Readonly<
  Record<
    string,
    {
      status?: number;
      headers?: Record<string, string>;
      body?: string | Uint8Array | (() => AsyncIterable<string>);
    }
  >
>;

/** An HTTPS server that says what it is told to, for clients that have to tell right from wrong. */
export async function serve(credentials: ServerCredentials, answers: Answers): Promise<TestEndpoint> {
  const server: Server = createServer(credentials, (request, response) => {
    const answer = answers[request.url ?? ''] ?? { status: 404 };
    response.writeHead(answer.status ?? 200, answer.headers);
    if (typeof answer.body === 'function') pipeline(Readable.from(answer.body()), response, () => undefined);
    else response.end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** The SVID of an endpoint, signed by an authority of a pool. */
export async function svidOf(
  authority: Authority,
  path: readonly string[],
  lifetimeSeconds = 3600,
): Promise<ServerCredentials> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const id = makeSpiffeId(authority.root.uris[0]?.slice('spiffe://'.length) ?? '', path);
  if (!id.ok) throw new Error(id.reason);
  const now = Math.floor(Date.now() / 1000);
  const { chainPem } = await issueLeaf({
    authority: authority.signingAuthority,
    profile: svidProfile,
    subject: spiffeSubject(id.value),
    key: supportedKey(publicKey.export({ format: 'der', type: 'spki' })),
    validity: { notBefore: now - 60, notAfter: now + lifetimeSeconds },
    serial: makeSerial(randomBytes),
  });
  return { key: pemOf(privateKey), cert: chainPem };
}

/** A certificate as servers of the web have it, which is its own root. `address` is an IP address or a DNS name. */
export async function webCredentials({
  address = '127.0.0.1',
  lifetimeSeconds = 3600,
} = {}): Promise<ServerCredentials> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keys = await webKeyPair('ECDSA P-256', privateKey);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${address}`,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + lifetimeSeconds * 1000),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    keys,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new SubjectAlternativeNameExtension([{ type: isIP(address) === 0 ? 'dns' : 'ip', value: address }]),
    ],
  });
  return { key: pemOf(privateKey), cert: `${certificate.toString('pem')}\n` };
}

function pemOf(key: KeyObject): string {
  return String(key.export({ format: 'pem', type: 'pkcs8' }));
}
