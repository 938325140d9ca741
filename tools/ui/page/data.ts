import { useEffect, useState } from 'preact/hooks';

const refreshMs = 10_000;
const storedAs = 'kubespiffe-token';

/** Takes the token out of the URL, so that it is in no bookmark and on no screenshot, and keeps it for this tab. */
export function takeToken(): void {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token === null) return;
  setToken(token);
  history.replaceState(null, '', location.pathname + location.search);
}

/** Whether a token was given already. */
export const hasToken = () => Boolean(sessionStorage.getItem(storedAs));

export const setToken = (token: string) => sessionStorage.setItem(storedAs, token);

/** Something went wrong; `status` is 401 or 403 where the token is not enough, and 0 where there was no answer. */
export interface Failure {
  readonly status: number;
  readonly error: string;
  readonly hint?: string;
}

export interface Loaded<T> {
  /** The newest answer; it stays while a later one fails. */
  readonly value: T | undefined;
  readonly failure: Failure | undefined;
}

async function get<T>(path: string, signal: AbortSignal): Promise<Loaded<T>> {
  try {
    const authorization = `Bearer ${sessionStorage.getItem(storedAs) ?? ''}`;
    const response = await fetch(`/api/${path}`, { headers: { authorization }, signal });
    const body = await response.json();
    if (response.ok) return { value: body, failure: undefined };
    return { value: undefined, failure: { status: response.status, ...body } };
  } catch {
    const hint = 'is `kubespiffe ui` still running?';
    return { value: undefined, failure: { status: 0, error: 'there was no answer', hint } };
  }
}

/** Loads a path, and again while the page is visible. @param round raised to load at once. */
export function useData<T>(path: string, round = 0): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T> & { path?: string }>({
    value: undefined,
    failure: undefined,
  });
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const load = async () => {
      if (!document.hidden) {
        const { value, failure } = await get<T>(path, ended.signal);
        if (ended.signal.aborted) return;
        setLoaded((before) => ({
          path,
          failure,
          value: value ?? (before.path === path ? before.value : undefined),
        }));
      }
      timer = setTimeout(load, refreshMs);
    };
    load();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [path, round]);
  return loaded;
}

/** Seconds since the epoch, each second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
