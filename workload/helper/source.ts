import type { KubespiffeError } from '../../spiffe/errors.ts';
import { openBundleSource } from '../bundle-source.ts';
import { mergeBundles } from '../trust-bundle.ts';
import { openX509Source } from '../x509-source.ts';
import type { SourceConfig } from './config.ts';
import type { Material } from './material.ts';

/** What the files are made of, always the newest good. */
export interface HelperSource extends AsyncDisposable {
  material(): Material;
}

/**
 * Opens the source of a configuration.
 *
 * @param onUpdate is called after each change. @param onProblem takes what is wrong while the last good values stay.
 * @throws KubespiffeError where there is nothing good from the start.
 */
export async function openSource(
  { credentials, bundles }: SourceConfig,
  onUpdate: () => void,
  onProblem: (problem: KubespiffeError) => void,
): Promise<HelperSource> {
  await using opening = new AsyncDisposableStack();
  const own = opening.use(await openX509Source(credentials));
  const federated =
    Object.keys(bundles).length === 0 ? undefined : opening.use(await openBundleSource(credentials, bundles));
  for (const { events } of federated ? [own, federated] : [own]) {
    events.on('update', onUpdate);
    events.on('problem', onProblem);
  }
  const opened = opening.move();
  return {
    material: () => ({
      svid: own.svid,
      bundles: mergeBundles([...(federated ? [federated.bundles] : []), own.bundles]),
    }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
