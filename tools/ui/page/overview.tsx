import { workloadStates } from '../../view/workload-states.ts';
import type { Workload } from '../../view/workloads.ts';
import type { OverviewAnswer } from '../cluster-answers.ts';
import { Badge, Facts, State, stateTexts, Table, When } from './parts.tsx';
import { isReady } from './peers.tsx';

/** The installation on one screen. */
export function Overview({ overview }: { overview: OverviewAnswer }) {
  const { replicas, signers, waiting, refused, settings, pools, peers } = overview;
  const signing = pools
    .flatMap(({ view }) => (view.ok ? view.value.authorities : []))
    .filter(({ signs }) => signs);
  const isHidden = pools.some(({ view }) => !view.ok && view.isForbidden);
  const nothing = isHidden ? 'not known: this page may not read the pool' : 'none: see Authorities';
  return (
    <>
      <h1>Overview</h1>
      <Facts
        facts={[
          ['Settings of', settings],
          ['Replicas', replicas.ok ? <Replicas names={replicas.value} /> : replicas.why],
          ['Signing now', signing.map(({ id }) => id).join(', ') || nothing],
          ...(peers.ok && peers.value.length > 0
            ? [['Peers ready', `${peers.value.filter(isReady).length} of ${peers.value.length}`] as const]
            : []),
        ]}
      />
      <Table
        caption="Pods of each signer"
        titles={['Signer', ...workloadStates.map((state) => stateTexts[state])]}
        rows={signers.map(({ signer, counts }) => [
          signer,
          ...workloadStates.map((state) => (
            <a key={state} href={`/pods?state=${state}&q=${encodeURIComponent(signer)}`}>
              {counts[state]}
            </a>
          )),
        ])}
      />
      {waiting.length > 0 && <Stuck caption="Waiting requests, the oldest first" rows={waiting} />}
      {refused.length > 0 && <Stuck caption="Denied requests, and pods that get no name" rows={refused} />}
      {waiting.length + refused.length === 0 && (
        <p>No request waits or was denied, and no pod lacks a name.</p>
      )}
    </>
  );
}

function Replicas({ names }: { names: readonly string[] }) {
  const tone = names.length === 0 ? 'bad' : names.length === 1 ? 'doubtful' : 'good';
  return (
    <>
      <Badge tone={tone}>{names.length}</Badge> {names.join(', ')}
    </>
  );
}

function Stuck({ caption, rows }: { caption: string; rows: readonly Workload[] }) {
  return (
    <Table
      caption={caption}
      titles={['Pod', 'State', 'Since', 'Why']}
      rows={rows.map(({ pod, state, requestedAt, reason, message, signer }) => [
        <a key="pod" href={`/pods/${pod}`}>
          {pod}
        </a>,
        <State key="state" state={state} />,
        requestedAt ? <When key="since" at={requestedAt} /> : '-',
        <span key="why">
          <b>{reason}</b> {message} <span class="quiet">({signer})</span>
        </span>,
      ])}
    />
  );
}
