import type { Membership } from '../../signer/kube/membership.ts';

/** A replica that is the only one. */
export const onlyMember: Membership = {
  self: 'a',
  members: () => ['a'],
  onChange: () => {},
  synced: Promise.resolve(),
  run: async () => {},
};
