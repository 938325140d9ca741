import { signerSettings } from '../../signer/config/signer-settings.ts';
import { refreshJitter } from '../../signer/issuance/validity.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { parseJwt } from '../../spiffe/jwt-svid.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import type { JwtSource } from '../../workload/jwt-source.ts';
import type { X509Source } from '../../workload/x509-source.ts';
import { type CertificateView, certificateView, certificateViews } from '../view/certificates.ts';
import type { UiServerNeeds } from './server.ts';

/** A JWT-SVID without its signature: it proves nothing. */
export interface TokenView {
  /** The registration that gave the name; null where it is the default name. */
  readonly registration: string | null;
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What this pod holds itself. */
export interface OwnAnswer {
  readonly mode: 'own';
  readonly at: string;
  /** Where it comes from, for people. */
  readonly source: string;
  readonly spiffeId: string;
  /** The leaf first. */
  readonly chain: readonly CertificateView[];
  readonly bundles: readonly {
    readonly trustDomain: string;
    readonly roots: readonly CertificateView[];
    /** Ids of the keys that verify JWT-SVIDs. */
    readonly jwtKeys: readonly string[];
  }[];
  /** Null where no audience was given. */
  readonly token: TokenView | { readonly error: string } | null;
  /** When the certificate that is shown was read first. RFC 3339. */
  readonly since: string;
  /** When kubelet is asked to renew it, earliest and latest, where the signer has the default settings. RFC 3339. */
  readonly renewal: readonly [string, string];
}

export interface Own {
  readonly from: string;
  readonly x509: X509Source;
  readonly jwt: { readonly source: JwtSource; readonly audience: string } | undefined;
}

const refreshFraction = Number(signerSettings.refreshFraction.default);

function renewalOf({ notBefore, notAfter }: X509Source['svid']): OwnAnswer['renewal'] {
  const at = (share: number) => rfc3339(notBefore + Math.floor((notAfter - notBefore) * share));
  return [at(refreshFraction * (1 - refreshJitter)), at(refreshFraction)];
}

/** The answers of the web view about the pod that serves it. */
export function ownAnswers({ from, x509, jwt }: Own, now: () => number): UiServerNeeds['answers'] {
  let since = now();
  x509.events.on('update', () => {
    since = now();
  });
  return {
    async overview(): Promise<OwnAnswer> {
      const { svid, bundles } = x509;
      return {
        ...{ mode: 'own', at: new Date(now()).toISOString(), source: from, spiffeId: svid.id.uri },
        chain: certificateViews(svid.chainPem),
        bundles: [...bundles].map(([trustDomain, { roots, jwtKeys }]) => ({
          ...{ trustDomain, roots: roots.map(certificateView), jwtKeys: [...jwtKeys.keys()] },
        })),
        token: jwt ? await tokenOf(jwt) : null,
        since: rfc3339(Math.floor(since / 1000)),
        renewal: renewalOf(svid),
      };
    },
  };
}

async function tokenOf({ source, audience }: NonNullable<Own['jwt']>): Promise<OwnAnswer['token']> {
  try {
    const { token, registration = null } = await source.get(audience);
    const parsed = parseJwt(token);
    if (!parsed.ok) return { error: parsed.reason };
    const { header, claims } = parsed.value;
    return { header, claims, registration };
  } catch (error) {
    return { error: messageOf(error) };
  }
}
