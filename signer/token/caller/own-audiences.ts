import { makeSpiffeId } from '../../spiffe/id.ts';
import { endpointIdOf } from '../certificate.ts';

/** For whom a ServiceAccount token must be, and nobody else: each kind of SVID has an audience of its own. */
export interface OwnAudiences {
  readonly token: string;
  readonly x509: string;
}

/** Those of the settings, or the defaults of the trust domain. */
export function ownAudiences(
  trustDomain: string,
  settings: {
    readonly audience: string | undefined;
    readonly x509: { readonly audience: string | undefined } | undefined;
  },
): OwnAudiences {
  const x509 = makeSpiffeId(trustDomain, ['kubespiffe', 'x509-svid']);
  if (!x509.ok) throw new RangeError(x509.reason);
  return {
    token: settings.audience ?? endpointIdOf(trustDomain).uri,
    x509: settings.x509?.audience ?? x509.value.uri,
  };
}
