import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { identify } from '../identity/identify.ts';
import type { SignerProfile } from './profile.ts';

/** X509-SVIDs: the SPIFFE ID of the pod's ServiceAccount, under the authorities of the trust domain. */
export const spiffe: SignerProfile = {
  signerName: 'kubespiffe.io/spiffe',
  name: 'spiffe',
  hasTrustDomain: true,
  hasTokenEndpoint: true,
  identifier:
    ({ trustDomain = '' }) =>
    (pod) =>
      identify(pod, { trustDomain }),
  certificate: ({ leafPodIdentity, leafIssuer }) => ({
    ...svidProfile,
    extensionsFor: leafExtensions({ podIdentity: leafPodIdentity, issuer: leafIssuer }),
  }),
};
