import { pauseWith, realTime } from '../signer/kube/time.ts';
import { createNews } from '../signer/observe/news.ts';
import { messageOf } from '../spiffe/errors.ts';
import { createAnswers } from './answers.ts';
import { createAuthorities } from './authorities.ts';
import { checkNoneRuns, serveControl } from './control.ts';
import { freePort } from './free-port.ts';
import { emptyPrivateFolder, openPrivateFolder } from './private-folder.ts';
import { createServiceAccountTokens } from './service-account-token.ts';
import { createDevTokenService, tokenLifetimeFor } from './token-service.ts';
import type { Workload, WorkloadName } from './workload.ts';
import { createWorkloads } from './workloads.ts';

export interface DevOptions {
  readonly folder: string;
  readonly uid: number;
  readonly trustDomain: string;
  /** Lifetime of certificates. */
  readonly lifetimeSeconds: number;
  readonly workloads: readonly WorkloadName[];
  /** Port of the token endpoint on loopback; 0 for any. */
  readonly port: number;
  /** Takes lines for people about what happened. */
  readonly log: (line: string) => void;
}

/** A running development trust domain. */
export interface Dev {
  readonly workloads: readonly Workload[];
  readonly tokenEndpoint: string;
  /** Ends when the signal is aborted, and removes its files. */
  run(): Promise<void>;
}

/** How long a new root is published before anything is signed under it: sources read their files every five seconds. */
const propagationSeconds = 6;
/** How often it is looked at what is due. */
const tickMs = 200;

/** Starts a trust domain on this machine. When it returns, all files and sockets exist. */
export async function startDev(options: DevOptions, signal: AbortSignal): Promise<Dev> {
  const { folder, uid } = options;
  await checkNoneRuns(folder);
  await openPrivateFolder(folder, uid);
  try {
    return await startIn(options, signal);
  } catch (error) {
    await emptyPrivateFolder(folder);
    throw error;
  }
}

async function startIn(options: DevOptions, signal: AbortSignal): Promise<Dev> {
  const { folder, trustDomain, lifetimeSeconds, log } = options;
  const port = options.port === 0 ? await freePort() : options.port;
  const tokenEndpoint = `https://localhost:${port}`;
  const common = { folder, trustDomain, lifetimeSeconds, issuer: tokenEndpoint, port, log, time: realTime };
  const longestSeconds = Math.max(lifetimeSeconds, tokenLifetimeFor(lifetimeSeconds));
  const delays = { propagationSeconds, lifetimeSeconds: longestSeconds };
  const authorities = await createAuthorities({ ...common, delays });
  const tokens = createServiceAccountTokens(common);
  const workloads = createWorkloads({ ...common, authorities, tokens });
  const issueToken = createDevTokenService({ ...common, authorities, workloads, tokens });
  for (const name of options.workloads) await workloads.add(name);

  // The files are written before gRPC and HTTP are even loaded, which takes a third of the time of the start.
  const { createKeySource, serveWorkloadApi } = await import('./workload-api.ts');
  const { serveTokenEndpoint } = await import('./token-endpoint.ts');
  const keys = createKeySource(trustDomain, authorities);
  const serve = (workload: Workload) => serveWorkloadApi(workload, { keys, issueToken, tokens, log }, signal);
  /** By namespace and name: those that are served, or will be in a moment. */
  const serving = new Map<string, Promise<Workload>>();
  async function addAndServe(name: WorkloadName): Promise<Workload> {
    const workload = await workloads.add(name);
    await serve(workload);
    return workload;
  }
  function add(name: WorkloadName): Promise<Workload> {
    const key = `${name.namespace}/${name.name}`;
    const known = serving.get(key);
    if (known) return known;
    const added = addAndServe(name);
    serving.set(key, added);
    // The next caller tries again.
    added.catch(() => serving.delete(key));
    return added;
  }
  for (const name of options.workloads) await add(name);
  const endpointEnded = await serveTokenEndpoint({ ...common, authorities, issueToken }, signal);
  const answerTo = createAnswers({ trustDomain, tokenEndpoint, authorities, workloads, add });
  await serveControl(folder, answerTo, signal);
  const isNews = createNews(realTime);
  /** Such as a full disk. The files stay as they are, and the next tick tries again. */
  const reportOnce = (error: unknown) => {
    const problem = messageOf(error);
    if (isNews(problem)) log(`warning: certificates could not be renewed: ${problem}`);
  };
  return {
    workloads: workloads.all(),
    tokenEndpoint,
    async run() {
      try {
        while (!signal.aborted) {
          authorities.tick();
          await workloads.tick().catch(reportOnce);
          await pauseWith(realTime.timer)(tickMs, signal);
        }
        await endpointEnded();
      } finally {
        await emptyPrivateFolder(folder);
      }
    },
  };
}
