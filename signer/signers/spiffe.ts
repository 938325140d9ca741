import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { registrationAnnotation, registrationNameProblem } from '../identity/identify-registered.ts';
import type { SignerProfile } from './profile.ts';
import { identifyByRegistrations } from './registered.ts';

/** X509-SVIDs: the SPIFFE ID of the pod's registration or ServiceAccount, under the authorities of the trust domain. */
export const spiffe: SignerProfile = {
  signerName: 'kubespiffe.io/spiffe',
  name: 'spiffe',
  hasTrustDomain: true,
  hasTokenEndpoint: true,
  annotations: { [registrationAnnotation]: registrationNameProblem },
  identifier: ({ trustDomain = '' }, needs) => identifyByRegistrations(trustDomain, needs),
  certificate: ({ leafPodIdentity, leafIssuer }) => ({
    ...svidProfile,
    extensionsFor: leafExtensions({ podIdentity: leafPodIdentity, issuer: leafIssuer }),
  }),
};
