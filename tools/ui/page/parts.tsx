import type { ComponentChildren } from 'preact';
import { fromNow } from '../../span.ts';
import type { CertificateView } from '../../view/certificates.ts';
import type { WorkloadState } from '../../view/workload-states.ts';
import { type Failure, useNow } from './data.ts';

/** A time for people; the exact one is its title. */
export function When({ at }: { at: string | null | undefined }) {
  const now = useNow();
  if (!at) return <span class="quiet">not known</span>;
  return (
    <time dateTime={at} title={at}>
      {fromNow(Date.parse(at) / 1000, now)}
    </time>
  );
}

export type Tone = 'good' | 'bad' | 'doubtful' | 'plain';

export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

const tones: Readonly<Record<WorkloadState, Tone>> = {
  issued: 'good',
  named: 'plain',
  tokens: 'plain',
  waiting: 'doubtful',
  denied: 'bad',
  unnamed: 'bad',
};
export const stateTexts: Readonly<Record<WorkloadState, string>> = {
  waiting: 'waiting',
  denied: 'denied',
  unnamed: 'no name',
  issued: 'issued',
  named: 'named',
  tokens: 'tokens only',
};

export const State = ({ state }: { state: WorkloadState }) => (
  <Badge tone={tones[state]}>{stateTexts[state]}</Badge>
);

/**
 * A table that becomes a list of cards where the window is narrow.
 *
 * @param keys what each row is about: so that a link is not one to something else while it is clicked, as rows come and go.
 */
export function Table(table: {
  caption: string;
  titles: string[];
  rows: ComponentChildren[][];
  keys?: readonly string[];
}) {
  const { caption, titles, rows, keys = [] } = table;
  return (
    <table>
      <caption>{caption}</caption>
      <thead>
        <tr>
          {titles.map((title) => (
            <th key={title} scope="col">
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((cells, row) => (
          <tr key={keys[row] ?? row}>
            {cells.map((cell, column) => (
              <td key={titles[column]} data-title={titles[column]}>
                {cell}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return (
    <dl>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Certificate({ title, certificate }: { title: string; certificate: CertificateView }) {
  const { subject, names, keyType, serial, sha256, notBefore, notAfter } = certificate;
  return (
    <section class="card">
      <h3>{title}</h3>
      <Facts
        facts={[
          ['Names', names.length > 0 ? <Names names={names} /> : '(none)'],
          ['Subject', subject || '(none)'],
          ['Valid from', <When at={notBefore} key="from" />],
          ['Ends', <When at={notAfter} key="ends" />],
          ['Key', keyType],
          ['Serial', <code key="serial">{serial}</code>],
          ['SHA-256', <code key="sha256">{sha256}</code>],
        ]}
      />
    </section>
  );
}

/** @param title of the leaf. */
export const Chain = ({ title, chain }: { title: string; chain: readonly CertificateView[] }) => (
  <>
    {chain.map((certificate, index) => (
      <Certificate
        key={certificate.sha256}
        title={index === 0 ? title : `Intermediate ${index}`}
        certificate={certificate}
      />
    ))}
  </>
);

export const Names = ({ names }: { names: readonly string[] }) => (
  <>
    {names.map((name) => (
      <code key={name} class="name">
        {name}
      </code>
    ))}
  </>
);

export function Problem({ failure: { error, hint } }: { failure: Failure }) {
  return (
    <p class="problem" role="alert">
      {error}
      {hint && <span class="hint">{hint}</span>}
    </p>
  );
}

/** A part of the cluster that may not be read. */
export const Unread = ({ why }: { why: string }) => <p class="problem">{why}</p>;
