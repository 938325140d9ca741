import type { CertificateProfile } from './pki/leaf.ts';

/** X509-SVID 4.3 and 4.4: digitalSignature for every key; both purposes, since a workload is client and server. */
export const svidProfile: CertificateProfile = {
  keyUsage: { EC: ['digitalSignature'], RSA: ['digitalSignature'], Ed25519: ['digitalSignature'] },
  extKeyUsage: ['serverAuth', 'clientAuth'],
};
