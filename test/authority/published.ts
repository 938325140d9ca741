import type { Published } from '../../signer/authority/holder.ts';

/** What a watch shows in a cluster where no replica has published anything yet. */
export const nothingPublished: Published = {
  roots: () => new Set(),
  mark: () => undefined,
  rootEnds: () => new Map(),
};
