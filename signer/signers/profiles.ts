import { podIdentity } from './pod-identity.ts';
import type { SignerProfile } from './profile.ts';
import { serviceDns } from './service-dns.ts';
import { spiffe } from './spiffe.ts';

/** The signers that there are. A replica runs those that are enabled; tools make the same decisions with them. */
export const allProfiles: readonly SignerProfile[] = [spiffe, podIdentity, serviceDns];
