import { makeSpiffeId } from '../../spiffe/id.ts';
import { leafExtensions } from '../../spiffe/pki/leaf-extensions.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { spiffeSubject } from '../identity/subject.ts';
import { cannot } from '../observe/reasons.ts';
import type { SignerProfile } from './profile.ts';

/**
 * X509-SVIDs that name the single pod, `spiffe://<trust domain>/ns/<namespace>/pod/<pod name>`, with its UIDs in the
 * PodIdentity extension. From the pool of the signer spiffe. No registration can give such a name.
 */
export const podIdentity: SignerProfile = {
  signerName: 'kubespiffe.io/pod-identity',
  name: 'pod-identity',
  hasTrustDomain: true,
  hasTokenEndpoint: false,
  identifier:
    ({ trustDomain = '' }) =>
    ({ namespace, podName }) => {
      const id = makeSpiffeId(trustDomain, ['ns', namespace, 'pod', podName]);
      return id.ok ? { ok: true, subject: spiffeSubject(id.value) } : cannot('IdentityInvalid', id.reason);
    },
  certificate: ({ leafIssuer }) => ({
    ...svidProfile,
    extensionsFor: leafExtensions({ podIdentity: true, issuer: leafIssuer }),
  }),
};
