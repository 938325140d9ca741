/** How old what is shown may be, at least. */
const leastMs = 5_000;
/** A cluster that takes long to read is read less often: reading takes at most a tenth of the time. */
const timesDuration = 10;

/**
 * Reads something again when it is asked for and too old. Callers during the read share its result.
 *
 * @param now monotonic milliseconds.
 */
export function createLatest<T>(read: () => Promise<T>, now: () => number): () => Promise<T> {
  let reading: Promise<T> | undefined;
  let freshUntil = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() < freshUntil && reading) return reading;
    const from = now();
    freshUntil = Number.POSITIVE_INFINITY;
    reading = read();
    reading.then(
      () => {
        freshUntil = now() + Math.max(leastMs, timesDuration * (now() - from));
      },
      () => {
        freshUntil = Number.NEGATIVE_INFINITY;
      },
    );
    return reading;
  };
}
