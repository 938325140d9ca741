import type { AuthorityHistory } from '../../../signer/authority/history.ts';
import type { BundleView } from '../../view/bundles.ts';
import type { CertificateView } from '../../view/certificates.ts';
import type { PoolPart } from '../../view/pools.ts';
import type { OverviewAnswer } from '../cluster-answers.ts';
import { Badge, Certificate, Facts, Unread, When } from './parts.tsx';

/** The pools with the timeline of each authority, and the roots that are published. */
export function Authorities({ overview: { pools, bundles } }: { overview: OverviewAnswer }) {
  return (
    <>
      <h1>Authorities</h1>
      {pools.map((pool) => (
        <Pool key={pool.pool} part={pool} />
      ))}
      <h2>Published roots</h2>
      {[...rootsOf(bundles)].map(([sha256, { names, root }]) => (
        <Certificate key={sha256} title={`In ${names.join(', ')}`} certificate={root} />
      ))}
    </>
  );
}

/** Each root once, with the bundles that hold it. */
function rootsOf(bundles: readonly BundleView[]) {
  const found = new Map<string, { names: string[]; root: CertificateView }>();
  for (const { name, roots } of bundles) {
    for (const root of roots) {
      const known = found.get(root.sha256);
      if (known) known.names.push(name);
      else found.set(root.sha256, { names: [name], root });
    }
  }
  return found;
}

function Pool({ part: { pool, signers, view } }: { part: PoolPart }) {
  if (!view.ok) {
    return (
      <>
        <h2>Pool {pool}</h2>
        {view.isForbidden ? <Hidden why={view.why} /> : <Unread why={view.why} />}
      </>
    );
  }
  const { canSign, problems, authorities, histories, next, sequence } = view.value;
  return (
    <>
      <h2>
        Pool {pool} <Badge tone={canSign ? 'good' : 'bad'}>{canSign ? 'can sign' : 'cannot sign'}</Badge>
      </h2>
      <Facts
        facts={[
          ['Signers', signers.join(', ')],
          ['Sequence', String(sequence ?? '?')],
          ...next.map(({ kind, step }) => [`Next for ${kind}`, step] as const),
        ]}
      />
      {problems.map(({ field, what, remedy }) => (
        <p class="problem" key={field}>
          {`${field}: ${what}`}
          <span class="hint">{remedy}</span>
        </p>
      ))}
      {histories.map((history) => {
        const authority = authorities.find(({ id }) => id === history.id);
        return <Authority key={history.id} history={history} signs={authority?.signs === true} />;
      })}
    </>
  );
}

/** In the cluster, the page never has this right: what it shows would be worth more than identities. */
const Hidden = ({ why }: { why: string }) => (
  <p class="problem">
    This page may not read the pool. <code>kubespiffe ca status</code> shows it to those who may.
    <span class="hint">{why}</span>
  </p>
);

function Authority({ history, signs }: { history: AuthorityHistory; signs: boolean }) {
  const { id, kind, state, tainted, timeline } = history;
  return (
    <section class="card">
      <h3>
        {id} <span class="quiet">{kind}</span> <Badge tone={signs ? 'good' : 'plain'}>{state}</Badge>
        {tainted && <Badge tone="bad">tainted</Badge>}
      </h3>
      <ol class="timeline">
        {timeline.map(({ what, at }) => (
          // What is not known is infinite, which JSON writes as null.
          <li key={what} class={at !== null && at * 1000 <= Date.now() ? 'past' : 'coming'}>
            {what} {at === null ? <When at={null} /> : <When at={new Date(at * 1000).toISOString()} />}
          </li>
        ))}
      </ol>
    </section>
  );
}
