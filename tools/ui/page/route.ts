import { useEffect, useState } from 'preact/hooks';

export interface Place {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Whether a link led here, and not the first load. */
  readonly isMoved: boolean;
}

const here = (isMoved: boolean): Place => ({
  ...{ path: location.pathname, query: new URLSearchParams(location.search), isMoved },
});

const moved = 'kubespiffe-moved';

/** Goes to a path of this page. @param how `replace` leaves no entry in the history. */
export function go(path: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'push') history.pushState(null, '', path);
  else history.replaceState(null, '', path);
  dispatchEvent(new Event(moved));
}

/** Where the page is. Links within the page change it without a load. */
export function useRoute(): Place {
  const [place, setPlace] = useState(() => here(false));
  useEffect(() => {
    const update = () => setPlace(here(true));
    const click = (event: MouseEvent) => {
      const link = (event.target as Element).closest('a');
      const isOther = event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0;
      const path = link?.getAttribute('href') ?? '';
      if (isOther || !path.startsWith('/')) return;
      event.preventDefault();
      go(path);
    };
    addEventListener('popstate', update);
    addEventListener(moved, update);
    addEventListener('click', click);
    return () => {
      removeEventListener('popstate', update);
      removeEventListener(moved, update);
      removeEventListener('click', click);
    };
  }, []);
  return place;
}
