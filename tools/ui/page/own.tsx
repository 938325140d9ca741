import type { OwnAnswer } from '../own-answers.ts';
import { Certificate, Chain, Facts, Names, When } from './parts.tsx';

/** The token endpoint says which registration gave the name. A certificate has a new name at its next renewal only. */
function NamedBy({ token, spiffeId }: Pick<OwnAnswer, 'token' | 'spiffeId'>) {
  if (!token || 'error' in token) {
    return (
      <span class="quiet">
        known with a JWT-SVID only; otherwise see <code>kubespiffe explain pod</code>
      </span>
    );
  }
  const { registration, claims } = token;
  return (
    <>
      {registration ? `the registration ${registration}` : 'no registration: it is the default name'}
      {claims.sub !== spiffeId && (
        <p class="problem">
          The name is {String(claims.sub)} now. The certificate has it after its next renewal.
        </p>
      )}
    </>
  );
}

/** What the pod holds that serves this page. */
export function Own({ own }: { own: OwnAnswer }) {
  const { spiffeId, source, since, renewal, chain, bundles, token } = own;
  return (
    <>
      <h1>This pod</h1>
      <Facts
        facts={[
          ['SPIFFE ID', <Names key="id" names={[spiffeId]} />],
          ['Read from', source],
          ['In use since', <When key="since" at={since} />],
          ['Named by', <NamedBy key="named-by" token={token} spiffeId={spiffeId} />],
          [
            'Kubelet renews it by default',
            <>
              earliest <When at={renewal[0]} />, latest <When at={renewal[1]} />
            </>,
          ],
          ['Certificate ends', <When key="ends" at={chain[0]?.notAfter} />],
        ]}
      />
      <Chain title="X509-SVID" chain={chain} />
      {token && (
        <section class="card">
          <h3>JWT-SVID</h3>
          {'error' in token ? (
            <p class="problem">{String(token.error)}</p>
          ) : (
            <pre>{JSON.stringify({ header: token.header, claims: token.claims }, undefined, 2)}</pre>
          )}
          <p class="quiet">Its signature is left out, so that nobody can use it.</p>
        </section>
      )}
      {bundles.map(({ trustDomain, roots, jwtKeys }) => (
        <section key={trustDomain}>
          <h2>Trusts {trustDomain}</h2>
          {roots.map((root) => (
            <Certificate key={root.sha256} title="Root" certificate={root} />
          ))}
          {jwtKeys.length > 0 && <p>JWT keys: {jwtKeys.join(', ')}</p>}
        </section>
      ))}
    </>
  );
}
