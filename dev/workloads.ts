import { identify } from '../signer/identity/identify.ts';
import type { PodFacts } from '../signer/kube/pods.ts';
import { createStore, type Store } from '../signer/kube/store.ts';
import type { Time } from '../signer/kube/time.ts';
import { rootsPem } from '../signer/trust/published-documents.ts';
import { rfc3339 } from '../spiffe/pki/time.ts';
import { writeFiles } from '../workload/write-files.ts';
import type { Authorities } from './authorities.ts';
import { type Certificate, issueCertificate } from './certificate.ts';
import type { ServiceAccountTokens } from './service-account-token.ts';
import { newWorkload, type Workload, type WorkloadName } from './workload.ts';

/** The workloads and what their folders hold. Its functions wait for each other, so no folder is written by two. */
export interface Workloads {
  /** The pods that the workloads are, as the token endpoint looks them up. */
  readonly pods: Store<PodFacts>;
  all(): readonly Workload[];
  find(name: WorkloadName): Workload | undefined;
  /** @throws KubespiffeError as `newWorkload` */
  add(name: WorkloadName): Promise<Workload>;
  /** Replaces the certificates. @returns lines for people. */
  renew(some: readonly Workload[]): Promise<string[]>;
  /** Lets the certificates end in some seconds, and renews them no more until `renew` is called. @returns the same. */
  expire(some: readonly Workload[]): Promise<string[]>;
  /** Renews what is due, and writes the roots where there are others. */
  tick(): Promise<void>;
}

/** What is left of a certificate that is to expire: a program that reads its files takes it, and then meets its end. */
const expiringSeconds = 3;

export function createWorkloads(needs: {
  readonly folder: string;
  readonly trustDomain: string;
  readonly lifetimeSeconds: number;
  readonly authorities: Authorities;
  readonly tokens: ServiceAccountTokens;
  readonly time: Time;
  readonly log: (line: string) => void;
}): Workloads {
  const { lifetimeSeconds, authorities, tokens, time, log } = needs;
  const pods = createStore<PodFacts>({ time });
  pods.replace([]);
  const held = new Map<Workload, Certificate>();
  const seconds = () => Math.floor(time.now() / 1000);
  let last: Promise<unknown> = Promise.resolve();

  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = last.then(act);
    last = turn.catch(() => undefined);
    return turn;
  }

  async function replace(workload: Workload, lifetime: number): Promise<Certificate> {
    const certificate = await issueCertificate(workload, authorities, lifetime, seconds());
    await deliver(workload, certificate);
    held.set(workload, certificate);
    return certificate;
  }

  async function deliver(workload: Workload, { credentialsPem }: Certificate): Promise<void> {
    const files = {
      'credentials.pem': credentialsPem,
      'roots.pem': rootsPem(authorities.current())?.bytes.toString() ?? '',
      token: await tokens.make(workload, lifetimeSeconds),
    };
    const ofOwner = ([name, content]: [string, string]) => ({ name, content, mode: 0o600 });
    await writeFiles(workload.folder, Object.entries(files).map(ofOwner));
  }

  async function renew(some: readonly Workload[]): Promise<string[]> {
    const lines: string[] = [];
    for (const workload of some) {
      const { notAfter } = await replace(workload, lifetimeSeconds);
      lines.push(`renewed ${workload.spiffeId}, valid until ${rfc3339(notAfter)}`);
    }
    return logged(lines);
  }

  async function expire(some: readonly Workload[]): Promise<string[]> {
    const lines: string[] = [];
    for (const workload of some) {
      const certificate = await replace(workload, expiringSeconds);
      held.set(workload, { ...certificate, renewAt: Number.POSITIVE_INFINITY });
      lines.push(
        `${workload.spiffeId} expires at ${rfc3339(certificate.notAfter)}, until \`dev rotate\` renews it`,
      );
    }
    return logged(lines);
  }

  function logged(lines: string[]): string[] {
    for (const line of lines) log(line);
    return lines;
  }

  /** Whether there are roots that the folders do not have. */
  let hasNewRoots = false;
  authorities.onChange(() => {
    hasNewRoots = true;
  });

  async function tick(): Promise<void> {
    const now = seconds();
    await renew([...held].filter(([, { renewAt }]) => renewAt <= now).map(([workload]) => workload));
    if (!hasNewRoots) return;
    hasNewRoots = false;
    try {
      for (const [workload, certificate] of held) await deliver(workload, certificate);
    } catch (error) {
      hasNewRoots = true;
      throw error;
    }
  }

  return {
    pods,
    all: () => [...held.keys()],
    find: (name) => [...held.keys()].find((each) => isNamed(each, name)),
    add: (name) =>
      inTurn(async () => {
        const known = [...held.keys()].find((each) => isNamed(each, name));
        if (known) return known;
        const workload = newWorkload(name, needs);
        const { namespace, pod, serviceAccount } = workload;
        const facts = { uid: pod.uid, nodeName: 'localhost', serviceAccountName: serviceAccount.name };
        pods.set(`${namespace}/${pod.name}`, { ...facts, finished: undefined });
        await replace(workload, lifetimeSeconds);
        return workload;
      }),
    renew: (some) => inTurn(() => renew(some)),
    expire: (some) => inTurn(() => expire(some)),
    tick: () => inTurn(tick),
  };
}

/** The decision of the signer about a pod without a registration. */
export const identifyIn = (trustDomain: string) => (pod: Parameters<typeof identify>[0]) =>
  identify(pod, { trustDomain });

function isNamed({ namespace, serviceAccount }: Workload, wanted: WorkloadName): boolean {
  return namespace === wanted.namespace && serviceAccount.name === wanted.name;
}
