import { pause, realTime } from '../signer/kube/time.ts';
import { rfc3339 } from '../spiffe/pki/time.ts';
import { createAuthorities } from './authorities.ts';
import { emptyPrivateFolder, openPrivateFolder } from './private-folder.ts';
import { type Delivered, deliver, issue, newWorkload, type Workload } from './workload.ts';

/** A workload as it is named: `namespace/name` of its ServiceAccount. */
export interface WorkloadName {
  readonly namespace: string;
  readonly name: string;
}

export interface DevOptions {
  readonly folder: string;
  readonly uid: number;
  readonly trustDomain: string;
  /** Of certificates and tokens. */
  readonly lifetimeSeconds: number;
  readonly workloads: readonly WorkloadName[];
  /** Takes lines for people about what happened. */
  readonly log: (line: string) => void;
}

/** A running development trust domain. */
export interface Dev {
  readonly workloads: readonly Workload[];
  /** Ends and removes its files when the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** Sources read their files at least every five seconds. */
const propagationSeconds = 6;
/** How often it is looked at what is due. */
const tickMs = 200;

/** Starts a trust domain on this machine. When it returns, the files of all workloads are there. */
export async function startDev(options: DevOptions): Promise<Dev> {
  const { folder, uid, trustDomain, lifetimeSeconds, log } = options;
  const seconds = () => Math.floor(realTime.now() / 1000);
  await openPrivateFolder(folder, uid);
  const delays = { propagationSeconds, lifetimeSeconds };
  const authorities = await createAuthorities({ trustDomain, delays, time: realTime });
  const delivered = new Map<Workload, Delivered>();

  async function renew(workload: Workload): Promise<void> {
    const fresh = await issue(workload, authorities, lifetimeSeconds, seconds());
    delivered.set(workload, fresh);
    await deliver(workload, fresh, authorities);
  }

  async function tick(): Promise<void> {
    const hasChanged = authorities.advance();
    for (const [workload, has] of delivered) {
      if (has.renewAt <= seconds()) {
        await renew(workload);
        const { notAfter } = delivered.get(workload) ?? has;
        log(`renewed ${workload.spiffeId} until ${rfc3339(notAfter)}`);
      } else if (hasChanged) await deliver(workload, has, authorities);
    }
  }

  for (const name of options.workloads) await renew(newWorkload(name, { trustDomain, folder }));
  return {
    workloads: [...delivered.keys()],
    async run(signal) {
      try {
        while (!signal.aborted) {
          await pause(tickMs, signal);
          await tick();
        }
      } finally {
        await emptyPrivateFolder(folder);
      }
    },
  };
}
