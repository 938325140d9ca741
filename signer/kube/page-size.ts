/** How many objects a page of a list may have, so that its answer stays below the longest one that is read. */
export interface PageSize {
  current(): number;
  /**
   * A page was too large, or too slow although it had begun: `received` objects of it had come.
   * @returns whether a smaller page can be asked for.
   */
  shrink(received: number): boolean;
  /** A page came whole, with so many bytes. */
  fitted(bytes: number): void;
}

/** What client-go asks for. */
const most = 500;
/** An eighth of the longest answer: twice as many objects of this kind fit easily. */
const smallPageBytes = 8 * 1024 * 1024;

/** Pages shrink to what fits and grow again after it: one namespace with large objects does not slow all lists down. */
export function createPageSize(): PageSize {
  let size = most;
  return {
    current: () => size,
    shrink(received) {
      if (size === 1) return false;
      size = Math.max(1, Math.floor(Math.min(size, received) / 2));
      return true;
    },
    fitted(bytes) {
      if (bytes < smallPageBytes) size = Math.min(most, size * 2);
    },
  };
}
