import { generateKeyPairSync } from 'node:crypto';
import { endpointIdOf } from '../../../spiffe/infrastructure.ts';
import { makeSerial } from '../../../spiffe/pki/serial.ts';
import { readSubjectKey } from '../../../spiffe/pki/spki.ts';
import { svidProfile } from '../../../spiffe/svid-profile.ts';
import { forbiddenDnsNames } from '../../authority/authority.ts';
import { issueLeaf, leafNotBefore } from '../../authority/issue-leaf.ts';
import type { Authority } from '../../authority/pool.ts';
import type { ServerCertificate } from './tls.ts';

/** What the endpoint shows its callers. */
export interface EndpointCertificate extends ServerCertificate {
  readonly authorityId: string;
  /** Fingerprints of the chain that verifies it. */
  readonly issuedBy: string;
  /** From then on a new one is made, in seconds since the epoch. */
  readonly renewAt: number;
}

/** Lifetime of the endpoint's own certificates. */
export const endpointLifetimeSeconds = 24 * 3600;

/**
 * Makes an SVID for the endpoint itself: a new P-256 key, the reserved SPIFFE ID, and the DNS names of the Service, so
 * that callers who know nothing of SPIFFE can verify it too. Names that the CA must not sign are left out: with one of them,
 * every client would refuse the whole certificate, also those that look at the SPIFFE ID alone.
 *
 * @param input now: seconds since the epoch.
 */
export async function makeEndpointCertificate(input: {
  readonly authority: Authority;
  readonly trustDomain: string;
  readonly dnsNames: readonly string[];
  readonly now: number;
  readonly randomBytes: (count: number) => Uint8Array;
}): Promise<EndpointCertificate> {
  const { authority, dnsNames } = input;
  const { signingAuthority } = authority;
  const forbidden = forbiddenDnsNames(authority, dnsNames);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = readSubjectKey(publicKey.export({ type: 'spki', format: 'der' }));
  if (key.kind !== 'supported') throw new Error('a new P-256 key is not supported');
  const notBefore = leafNotBefore(input.now, signingAuthority.notBefore);
  const notAfter = Math.min(notBefore + endpointLifetimeSeconds, signingAuthority.notAfter);
  const { chainPem } = await issueLeaf({
    authority: signingAuthority,
    profile: svidProfile,
    subject: {
      uris: [endpointIdOf(input.trustDomain).uri],
      dnsNames: dnsNames.filter((name) => !forbidden.includes(name)),
    },
    key,
    validity: { notBefore, notAfter },
    serial: makeSerial(input.randomBytes),
  });
  return {
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    chainPem,
    authorityId: authority.id,
    issuedBy: chainOf(authority),
    notAfter,
    renewAt: input.now + Math.floor((notAfter - input.now) / 2),
    lack: forbidden.length === 0 ? undefined : lackOf(forbidden, authority.id),
  };
}

function lackOf(forbidden: readonly string[], authorityId: string): string {
  const names = forbidden.length === 1 ? 'the DNS name' : 'the DNS names';
  return (
    `its certificate does not have ${names} ${forbidden.join(' and ')}, because the name constraints of authority ` +
    `${authorityId} do not permit this; set tokenNames to names that they permit`
  );
}

/**
 * Whether this certificate is to be replaced: half of its lifetime is over, or another chain signs now. Chains are
 * compared, because a new pool may have the same ids.
 *
 * @param now seconds since the epoch.
 */
export function isToBeRenewed(
  current: Pick<EndpointCertificate, 'issuedBy' | 'renewAt'>,
  authority: Pick<Authority, 'signing' | 'intermediates' | 'root'>,
  now: number,
): boolean {
  return now >= current.renewAt || current.issuedBy !== chainOf(authority);
}

/** Fingerprints of everything that verifies what an authority signs. */
function chainOf({
  signing,
  intermediates,
  root,
}: Pick<Authority, 'signing' | 'intermediates' | 'root'>): string {
  return [signing, ...intermediates, root].map(({ sha256Hex }) => sha256Hex).join();
}
