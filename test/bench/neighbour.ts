import { epochMs, openApi } from './api-client.ts';
import { makePlace } from './cluster.ts';
import { createGenerator, type LoadGenerator } from './generator.ts';
import { type Bench, cleanUp } from './runs.ts';
import { startBenchSigner } from './signers.ts';

/** From the confirmed creation of a request to its answer, in milliseconds, one request after another. */
export interface Neighbour {
  readonly openRequests: number;
  readonly quiet: readonly number[];
  readonly beside: readonly number[];
}

/** How long requests of one namespace wait, without load and beside many open requests of another namespace. */
export async function besideOpenRequests(
  bench: Bench,
  sizes: { readonly openRequests: number; readonly quietRequests: number },
): Promise<Neighbour> {
  const { cluster, load } = bench;
  const api = await openApi(cluster.controlPlane.kubeconfig);
  try {
    const generator = createGenerator(api, await makePlace(cluster.controlPlane, 'neighbour'));
    await generator.createPods(10, 1);
    const signer = await startBenchSigner(cluster);
    const quiet: number[] = [];
    while (quiet.length < sizes.quietRequests) quiet.push(await answerMs(generator));
    await signer.stop();

    await load.call('prepare', { count: sizes.openRequests, ceiling: false });
    await load.call('createBacklog', undefined);
    const startedAt = epochMs();
    const busySigner = await startBenchSigner(cluster, { waitUntilReady: false });
    let isBusy = true;
    const workedOff = load.call('workOffBacklog', { startedAt }).then(() => {
      isBusy = false;
    });
    // The first answer comes once the process has started.
    await answerMs(generator);
    const beside: number[] = [];
    while (isBusy) beside.push(await answerMs(generator));
    await workedOff;
    await busySigner.stop();
    await generator.deleteRequests();
    await cleanUp(bench);
    // The last one may have come when the others were answered.
    return { openRequests: sizes.openRequests, quiet, beside: beside.slice(0, -1) };
  } finally {
    api.close();
  }
}

async function answerMs(generator: LoadGenerator): Promise<number> {
  const requests = generator.prepare(1);
  const [request] = requests;
  if (!request) throw new Error('no request was prepared');
  const answers = await generator.watchAnswers(requests);
  await generator.create(request);
  await answers.done;
  answers.stop();
  return request.answeredAt - request.createdAt;
}
