import { useEffect, useRef, useState } from 'preact/hooks';
import { workloadStates } from '../../view/workload-states.ts';
import type { WorkloadsAnswer } from '../cluster-answers.ts';
import { useData } from './data.ts';
import { Names, Problem, State, stateTexts, Table, When } from './parts.tsx';
import { go } from './route.ts';

const pageSize = 100;

/** Which pod has what, and a search over it. */
export function Pods({ query }: { query: URLSearchParams }) {
  const [q, state, from] = [query.get('q') ?? '', query.get('state') ?? '', Number(query.get('from')) || 0];
  const { value, failure } = useData<WorkloadsAnswer>(`workloads?${query}`);
  const change = (to: Record<string, string>, how?: 'replace') =>
    go(`/pods?${new URLSearchParams({ q, state, ...to })}`, how);
  const total = value ? Object.values(value.counts).reduce((sum, count) => sum + count, 0) : 0;
  return (
    <>
      <h1>Pods</h1>
      <Search q={q} change={(text) => change({ q: text }, 'replace')} />
      <fieldset>
        <legend class="quiet">State</legend>
        {['', ...workloadStates].map((each) => (
          <label key={each}>
            <input
              type="radio"
              name="state"
              checked={each === state}
              onChange={() => change({ state: each }, 'replace')}
            />
            {each === '' ? 'all' : stateTexts[each as keyof typeof stateTexts]}{' '}
            <span class="quiet">
              {value && (each === '' ? total : value.counts[each as keyof typeof stateTexts])}
            </span>
          </label>
        ))}
      </fieldset>
      {failure && <Problem failure={failure} />}
      {value && (
        <>
          <p role="status">{`${value.found} found`}</p>
          <Table
            caption="Pods and what they have from a signer"
            titles={['Pod', 'State', 'Names', 'Ends', 'Registration', 'Node']}
            keys={value.rows.map(
              ({ pod }, at, rows) => `${pod} ${at - rows.findIndex((row) => row.pod === pod)}`,
            )}
            rows={value.rows.map((row) => [
              <a key="pod" href={`/pods/${row.pod}`}>
                {row.pod}
              </a>,
              <State key="state" state={row.state} />,
              row.names.length > 0 ? <Names key="names" names={row.names} /> : (row.reason ?? '-'),
              row.certificate ? <When key="ends" at={row.certificate.notAfter} /> : '-',
              row.registration ?? '-',
              row.node || '(none)',
            ])}
          />
          {value.found > pageSize && (
            <p class="pager">
              <button
                type="button"
                disabled={from === 0}
                onClick={() => change({ from: `${from - pageSize}` })}
              >
                Previous
              </button>
              {` ${from + 1} to ${Math.min(from + pageSize, value.found)} of ${value.found} `}
              <button
                type="button"
                disabled={from + pageSize >= value.found}
                onClick={() => change({ from: `${from + pageSize}` })}
              >
                Next
              </button>
            </p>
          )}
        </>
      )}
    </>
  );
}

/** Searches a moment after the last key. The key `/` leads here. */
function Search({ q, change }: { q: string; change: (text: string) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  // The page is drawn again while somebody types, and must not take back what was typed.
  const [text, setText] = useState(q);
  useEffect(() => {
    if (timer.current === undefined) setText(q);
  }, [q]);
  // A link that is followed right after the last key leads away from here: the search must not lead back.
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      if (event.key !== '/' || event.target instanceof HTMLInputElement) return;
      event.preventDefault();
      input.current?.focus();
    };
    addEventListener('keydown', focus);
    return () => removeEventListener('keydown', focus);
  }, []);
  return (
    <search>
      <label for="q">
        Search by SPIFFE ID, pod, namespace, node, registration, serial or SHA-256 of the root
      </label>
      <input
        ref={input}
        id="q"
        type="search"
        value={text}
        placeholder="press / to search"
        onInput={({ currentTarget: { value } }) => {
          setText(value);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => {
            timer.current = undefined;
            change(value);
          }, 200);
        }}
      />
    </search>
  );
}
