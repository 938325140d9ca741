interface Waiting {
  run: (() => void) | undefined;
}

/** What is run when a signal is aborted, by signal. */
const waitingFor = new WeakMap<AbortSignal, Set<Waiting>>();

/**
 * Calls `run` when the signal is aborted. For what happens thousands of times with one signal: a listener of an
 * AbortSignal costs more, and after its removal it still refers to those that were added later. So V8 would keep the
 * requests of all of them until it next collects old objects.
 *
 * @returns a function that ends it.
 */
export function onAbort(signal: AbortSignal, run: () => void): () => void {
  const waiting = waitingFor.get(signal) ?? listenTo(signal);
  const entry: Waiting = { run };
  waiting.add(entry);
  return () => {
    entry.run = undefined;
    waiting.delete(entry);
  };
}

function listenTo(signal: AbortSignal): Set<Waiting> {
  const waiting = new Set<Waiting>();
  waitingFor.set(signal, waiting);
  signal.addEventListener(
    'abort',
    () => {
      for (const each of [...waiting]) each.run?.();
      waiting.clear();
    },
    { once: true },
  );
  return waiting;
}
