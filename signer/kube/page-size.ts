/** What client-go asks for. */
const most = 500;
/** An eighth of the longest answer: twice as many objects of this kind fit easily. */
const smallPageBytes = 8 * 1024 * 1024;

/**
 * How many objects a page of a list may have, so that its answer stays below the longest one that is read. Pages shrink
 * to what fits and grow again after it: one namespace with large objects does not slow all lists down.
 */
export function createPageSize() {
  let size = most;
  return {
    current: () => size,
    /**
     * A page was too large, or too slow although it had begun: `received` objects of it had come.
     * @returns whether a smaller page can be asked for.
     */
    shrink(received: number): boolean {
      if (size === 1) return false;
      size = Math.max(1, Math.floor(Math.min(size, received) / 2));
      return true;
    },
    /** A page came whole, with so many bytes. */
    fitted(bytes: number): void {
      if (bytes < smallPageBytes) size = Math.min(most, size * 2);
    },
  };
}

export type PageSize = ReturnType<typeof createPageSize>;
