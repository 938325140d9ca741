import type { RequestExplanation } from '../../explain/requests.ts';
import type { Step } from '../../explain/steps.ts';
import type { PodAnswer } from '../cluster-answers.ts';
import { useData } from './data.ts';
import { Badge, Certificate, Chain, Facts, Names, Problem, State, Table, type Tone, When } from './parts.tsx';

/** Who a pod is, why, and what the cluster shows of its certificate and roots. */
export function Pod({ pod }: { pod: string }) {
  const { value, failure } = useData<PodAnswer>(`pod?pod=${encodeURIComponent(pod)}`);
  return (
    <>
      <h1>{pod}</h1>
      {failure && <Problem failure={failure} />}
      {value && <Found answer={value} />}
    </>
  );
}

function Found({ answer: { explanation, workloads, chains, bundles } }: { answer: PodAnswer }) {
  const newest = explanation.requests.findLast(({ state }) => state === 'Issued');
  const chain = chains[newest?.request.split('/')[1] ?? ''] ?? [];
  return (
    <>
      {workloads.map(({ signer, volume, state, names, registration, certificate, message }) => (
        <section class="card" key={`${signer} ${volume}`}>
          <h2>
            {signer} <State state={state} />
          </h2>
          <Facts
            facts={[
              ['Names', names.length > 0 ? <Names names={names} /> : '(none)'],
              ['Given by', registration ?? (names.length > 0 ? 'the default of the signer' : '-')],
              ['Volume', volume ?? '(none: only the token endpoint)'],
              ...(message === null ? [] : [['Why', message] as const]),
              ...(certificate
                ? [
                    ['Certificate ends', <When key="ends" at={certificate.notAfter} />] as const,
                    ['Kubelet renews it', <When key="renews" at={certificate.refreshFrom} />] as const,
                  ]
                : []),
            ]}
          />
        </section>
      ))}
      <Chain title="Certificate of the newest request" chain={chain} />
      {chain.length === 0 && (
        <p class="quiet">
          {explanation.requests.some(({ state }) => state === 'Open')
            ? 'Not issued yet: a request of this pod is open.'
            : 'No request shows a certificate of this pod. Kubernetes deletes requests about 15 minutes after they were made.'}
        </p>
      )}
      {bundles.flatMap(({ name, roots }) =>
        roots.map((root) => (
          <Certificate key={`${name} ${root.sha256}`} title={`Root in ${name}`} certificate={root} />
        )),
      )}
      {explanation.signers.map(({ signer, volume, steps }) => (
        <Steps key={`${signer} ${volume}`} caption={`How ${signer} decides`} steps={steps} />
      ))}
      {explanation.requests.length > 0 && <Requests requests={explanation.requests} />}
      {explanation.events.length > 0 && (
        <Table
          caption="Events of the signer"
          titles={['When', 'Reason', 'Message']}
          rows={explanation.events.map(({ at, reason, message }) => [
            <When key="at" at={at} />,
            reason,
            message,
          ])}
        />
      )}
    </>
  );
}

function Steps({ caption, steps }: { caption: string; steps: readonly Step[] }) {
  const tone = (ok: boolean | null): Tone => (ok === null ? 'plain' : ok ? 'good' : 'bad');
  return (
    <Table
      caption={caption}
      titles={['Step', 'Fact', 'From']}
      rows={steps.map(({ ok, what, fact, from }) => [
        <Badge key="what" tone={tone(ok)}>
          {what}
        </Badge>,
        fact,
        from,
      ])}
    />
  );
}

function Requests({ requests }: { requests: readonly RequestExplanation[] }) {
  return (
    <Table
      caption="Requests"
      titles={['Request', 'Made', 'State', 'Why']}
      rows={requests.map(({ request, createdAt, state, reason, message, names }) => [
        request,
        <When key="made" at={createdAt} />,
        state,
        state === 'Issued' ? <Names key="names" names={names} /> : `${reason}: ${message}`,
      ])}
    />
  );
}
