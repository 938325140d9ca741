import type { FederationReport } from '../../federation/report.ts';
import type { OverviewAnswer } from '../cluster-answers.ts';
import { Badge, Facts, Unread, When } from './parts.tsx';

/** Whether a bundle is in use that was confirmed recently. */
export function isReady({ conditions }: FederationReport): boolean {
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

/** The trust domains that the cluster federates with. */
export function Peers({ overview: { peers } }: { overview: OverviewAnswer }) {
  return (
    <>
      <h1>Peers</h1>
      {!peers.ok && <Unread why={peers.why} />}
      {peers.ok && peers.value.length === 0 && <p>The cluster federates with no other trust domain.</p>}
      {peers.ok && peers.value.map((peer) => <Peer key={peer.name} peer={peer} />)}
    </>
  );
}

function Peer({ peer }: { peer: FederationReport }) {
  const { name, trustDomain, source, conditions, bundle, paused } = peer;
  const ready = conditions.find(({ type }) => type === 'Ready');
  const others = conditions.filter(({ type, status }) => type !== 'Ready' && status === 'True');
  const roots = bundle?.keys.filter(({ use }) => use === 'x509-svid') ?? [];
  return (
    <section class="card">
      <h2>
        {trustDomain || name}{' '}
        <Badge tone={isReady(peer) ? 'good' : 'bad'}>{isReady(peer) ? 'ready' : 'not ready'}</Badge>
        {paused && <Badge tone="doubtful">paused</Badge>}
      </h2>
      <Facts
        facts={[
          ['Resource', name],
          ['Bundle from', source],
          ['Why', ready ? `${ready.reason}: ${ready.message}` : 'no signer has looked at it yet'],
          ...others.map(({ type, reason, message }) => [type, `${reason}: ${message}`] as const),
          ['Sequence', String(bundle?.sequence ?? '-')],
          ['Roots', String(roots.length)],
          ['JWT keys', String((bundle?.keys.length ?? 0) - roots.length)],
          ['Last success', <When key="success" at={peer.lastSuccess} />],
          ['Next attempt', <When key="next" at={peer.nextAttempt} />],
        ]}
      />
    </section>
  );
}
