import type { PoolDocument } from '../authority/document.ts';
import type { PoolPlace } from '../authority/pool-secret.ts';
import type { Timing } from '../authority/ready.ts';
import { type MayHaveSignedUntil, mayHaveSignedUntil, readSignedUntil } from '../authority/signed-until.ts';
import { readSignedUntilRecord } from '../authority/signed-until-record.ts';
import type { Time } from '../kube/time.ts';
import type { Transport } from '../kube/transport.ts';

/** The record is read so often, in milliseconds, while an authority waits to be retired. */
const readEveryMs = 600_000;

/**
 * What the record of a pool proves: until when old authorities are needed. Before it was read, and without entries in it, the
 * maximum lifetimes count, so a rotation waits for longer and nothing else.
 *
 * @param onRead called when the proof may have changed.
 */
export function createProof(
  needs: { readonly transport: Transport; readonly pool: PoolPlace; readonly time: Time },
  timing: Timing,
  onRead: () => void,
) {
  const { transport, pool, time } = needs;
  let proof: MayHaveSignedUntil | undefined;
  let readAt = Number.NEGATIVE_INFINITY;

  /** Throws what the transport throws. */
  async function read({ trustDomain }: PoolDocument): Promise<void> {
    readAt = time.monotonic();
    const record = await readSignedUntilRecord(transport, pool);
    proof = mayHaveSignedUntil(record?.signedUntil ?? readSignedUntil(undefined), trustDomain);
    onRead();
  }

  return {
    timing: (): Timing => (proof ? { ...timing, mayHaveSignedUntil: proof } : timing),
    read,
    /** Reads it now and then, while it is needed. */
    keep(document: PoolDocument | undefined): void {
      const isWanted = document?.authorities.some(({ state }) => state === 'retiring');
      if (!document || !isWanted || time.monotonic() - readAt < readEveryMs) return;
      void read(document).catch(() => undefined);
    },
  };
}
