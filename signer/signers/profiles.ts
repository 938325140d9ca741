import type { SignerProfile } from './profile.ts';
import { spiffe } from './spiffe.ts';

/** The signers that there are. A replica runs them; tools make the same decisions with them. */
export const allProfiles: readonly SignerProfile[] = [spiffe];
