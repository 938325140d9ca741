import type { LastPublished } from '../../signer/authority/holder.ts';

/** What a watch shows in a cluster where no replica has published anything yet. */
export const nothingPublished: LastPublished = {
  mark: () => undefined,
  rootEnds: () => new Map(),
};
