import './style.css';
import { type ComponentChildren, render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { OverviewAnswer } from '../cluster-answers.ts';
import type { OwnAnswer } from '../own-answers.ts';
import { Authorities } from './authorities.tsx';
import { type Failure, hasToken, setToken, takeToken, useData } from './data.ts';
import { Overview } from './overview.tsx';
import { Own } from './own.tsx';
import { Problem, When } from './parts.tsx';
import { Peers } from './peers.tsx';
import { Pod } from './pod.tsx';
import { Pods } from './pods.tsx';
import { type Place, useRoute } from './route.ts';

const titles: Readonly<Record<string, string>> = {
  '/': 'Overview',
  '/pods': 'Pods',
  '/authorities': 'Authorities',
  '/peers': 'Peers',
};

function App() {
  const place = useRoute();
  const [round, setRound] = useState(0);
  const { value, failure } = useData<OverviewAnswer | OwnAnswer>('overview', round);
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = `${titles[place.path] ?? 'Pod'} · kubespiffe`;
    if (place.isMoved) main.current?.focus();
  }, [place.path]);
  if (!value && failure && (failure.status === 401 || failure.status === 403)) {
    return <SignIn failure={failure} done={() => setRound(round + 1)} />;
  }
  const isOwn = value?.mode === 'own';
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header>
        <strong>kubespiffe</strong>
        {value && <span class="quiet">{isOwn ? 'this pod' : value.trustDomain}</span>}
        {value && !isOwn && (
          <nav aria-label="Pages">
            {Object.entries(titles).map(([path, title]) => (
              <a key={path} href={path} aria-current={path === place.path ? 'page' : undefined}>
                {title}
              </a>
            ))}
          </nav>
        )}
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {failure && <Problem failure={failure} />}
        {!value && !failure && <p role="status">Reading …</p>}
        {value && (isOwn ? <Own own={value} /> : <Page place={place} overview={value} />)}
      </main>
      {value && (
        <footer class="quiet">
          As of <When at={value.at} />. Read-only.
        </footer>
      )}
    </>
  );
}

function Page({ place, overview }: { place: Place; overview: OverviewAnswer }): ComponentChildren {
  if (place.path === '/authorities') return <Authorities overview={overview} />;
  if (place.path === '/peers') return <Peers overview={overview} />;
  if (place.path === '/pods') return <Pods query={place.query} />;
  const [, pod] = /^\/pods\/([^/]+\/[^/]+)$/.exec(place.path) ?? [];
  return pod === undefined ? (
    <Overview overview={overview} />
  ) : (
    <Pod key={pod} pod={decodeURIComponent(pod)} />
  );
}

function SignIn({ failure, done }: { failure: Failure; done: () => void }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get('token');
    setToken(String(token ?? '').trim());
    done();
  };
  return (
    <main>
      <h1>kubespiffe</h1>
      {hasToken() ? <Problem failure={failure} /> : <p>Enter a token to see this page.</p>}
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="off" required />
        <button type="submit">Open</button>
      </form>
      <p class="quiet">
        With <code>kubespiffe ui</code>, open the URL that it printed. In a cluster, make a token of your
        ServiceAccount with{' '}
        <code>kubectl --namespace NAMESPACE create token NAME --audience kubespiffe-view</code>. The
        ServiceAccount needs the ClusterRole <code>kubespiffe-view-reader</code>. The token is kept in this
        tab only.
      </p>
    </main>
  );
}

takeToken();
render(<App />, document.body);
