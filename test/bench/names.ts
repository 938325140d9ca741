import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { waitFor } from '../cluster/process.ts';
import { epochMs } from './api-client.ts';
import { inParallel } from './generator.ts';
import { signerName as spiffeName } from './place.ts';
import { type Bench, bursts, type Run } from './runs.ts';
import { startBenchSigner } from './signers.ts';

export interface NamesSizes {
  /** How many pairs of bursts are compared. */
  readonly pairs: number;
  readonly requests: number;
  readonly registrations: number;
  readonly services: number;
  /** Pods that a change of a registration affects. */
  readonly affected: number;
}

/** Two bursts of one minute: with few objects that decide names, and with many. */
export interface Pair {
  readonly few: Run;
  readonly many: Run;
}

/** What one change of one registration cost a replica. */
export interface Change {
  /** Milliseconds until its status said that it was looked at. */
  readonly tookMs: number;
  /** CPU seconds, without what the replica uses in an equally long time without a change. */
  readonly cpuSeconds: number;
  /** Status writes of registrations. */
  readonly statusWrites: number;
}

export interface Names {
  readonly sizes: NamesSizes & { readonly pods: number };
  readonly registrations: readonly Pair[];
  readonly services: readonly Pair[];
  readonly change: Change;
}

const root = join(import.meta.dirname, '../..');
const writers = 32;
const registrationsPath = '/apis/kubespiffe.io/v1alpha1/namespaces/bench/workloadregistrations';
const servicesPath = '/api/v1/namespaces/bench/services';
const dnsName = 'kubespiffe.io/service-dns';
const dnsFlags = ['--service-dns-enabled', 'true', '--service-dns-root-propagation-delay', '0s'];

/** What certificates cost where many registrations, or many Services, could name their pods. All pods exist already. */
export async function measureNames(
  bench: Bench,
  sizes: NamesSizes & { readonly pods: number },
  say: (line: string) => void,
): Promise<Names> {
  const { controlPlane } = bench.cluster;
  for (const folder of ['-k manifests/crds', '-f manifests/service-dns/rbac.yaml']) {
    const [flag = '', path = ''] = folder.split(' ');
    await controlPlane.kubectl(['apply', '--server-side', flag, join(root, path)]);
  }
  await waitFor(
    'the CRDs',
    async () => (await controlPlane.request('GET', registrationsPath)).status === 200,
  );
  await promisify(execFile)(join(root, 'bin/kubespiffe'), [
    ...['ca', 'create', '--kubeconfig', controlPlane.kubeconfig, '--kind', 'service-dns', '--ca-id', 'dns-1'],
  ]);

  say(`${sizes.registrations} registrations and ${sizes.pods} pods`);
  const registrations = await compared(bench, sizes, {
    signerName: spiffeName,
    flags: [],
    few: 0,
    many: sizes.registrations,
    create: (index) => create(bench, registrationsPath, registration(index)),
    path: registrationsPath,
  });
  say(`a change that affects ${sizes.affected} of ${sizes.pods} pods`);
  await createMany(sizes.registrations, (index) => create(bench, registrationsPath, registration(index)));
  const change = await measureChange(bench, sizes.affected);
  await removeAll(bench, registrationsPath);

  say(`${sizes.services} Services in one namespace`);
  const services = await compared(bench, sizes, {
    signerName: dnsName,
    flags: dnsFlags,
    few: 1,
    many: sizes.services,
    create: (index) => create(bench, servicesPath, service(index)),
    path: servicesPath,
  });
  return { sizes, registrations, services, change };
}

interface Comparison {
  readonly signerName: string;
  readonly flags: readonly string[];
  readonly few: number;
  readonly many: number;
  readonly create: (index: number) => Promise<void>;
  readonly path: string;
}

/** Pairs of bursts, each answered by a process that has answered one before. */
async function compared(bench: Bench, { pairs, requests }: NamesSizes, with_: Comparison): Promise<Pair[]> {
  const { signerName, flags, few, many } = with_;
  const found: Pair[] = [];
  while (found.length < pairs) {
    const run = async (count: number): Promise<Run> => {
      await createMany(count, with_.create);
      const [, later] = await bursts(bench, 'one', requests, 2, { signerName, flags });
      await removeAll(bench, with_.path);
      if (!later) throw new Error('the burst gave no result');
      return later;
    };
    found.push({ few: await run(few), many: await run(many) });
  }
  return found;
}

/** Changes a registration so that it selects some pods that had another name, and counts what follows. */
async function measureChange(bench: Bench, affected: number): Promise<Change> {
  const { controlPlane } = bench.cluster;
  const signer = await startBenchSigner(bench.cluster);
  const writes = () =>
    signer.process.metric('kubespiffe_api_requests_total', {
      verb: 'PATCH',
      resource: 'workloadregistrations/status',
    });
  try {
    await waitFor(
      'the status of all registrations',
      async () => {
        const before = await writes();
        await pause(6_000);
        return (await writes()) === before;
      },
      { timeoutMs: 180_000 },
    );
    const idle = await used(signer, () => pause(10_000));
    const path = `${registrationsPath}/team-1`;
    const names = Array.from({ length: affected }, (_, index) => `pod-${String(index).padStart(5, '0')}`);
    const podSelector = {
      matchLabels: null,
      matchExpressions: [{ key: 'app.kubernetes.io/instance', operator: 'In', values: names }],
    };
    const before = await writes();
    let tookMs = 0;
    const busy = await used(signer, async () => {
      const startedAt = epochMs();
      const { body } = await controlPlane.request('PATCH', path, { spec: { podSelector, priority: 1 } });
      const { generation } = body.metadata;
      await waitFor('the status of the changed registration', async () => {
        const { status } = (await controlPlane.request('GET', path)).body;
        return status?.observedGeneration === generation && status.podsSelected === affected;
      });
      tookMs = epochMs() - startedAt;
      await pause(Math.max(0, 10_000 - tookMs));
    });
    return { tookMs, cpuSeconds: busy - idle, statusWrites: (await writes()) - before };
  } finally {
    await signer.stop();
  }
}

async function used(
  { process }: Awaited<ReturnType<typeof startBenchSigner>>,
  work: () => Promise<unknown>,
): Promise<number> {
  const before = process.child.cpuSeconds();
  await work();
  return process.child.cpuSeconds() - before;
}

/** The first selects every pod of the bench; of the others each looks for pods that do not exist. */
function registration(index: number): object {
  const label =
    index === 0 ? ['app.kubernetes.io/name', 'bench'] : ['app.kubernetes.io/instance', `no-${index}`];
  return {
    apiVersion: 'kubespiffe.io/v1alpha1',
    kind: 'WorkloadRegistration',
    metadata: { name: `team-${index}` },
    spec: {
      podSelector: { matchLabels: { [String(label[0])]: label[1] } },
      spiffeIDTemplate: `spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/team-${index}`,
    },
  };
}

/** The first selects every pod of the bench; the others require a second label, which no pod has with this value. */
function service(index: number): object {
  const selector = {
    'app.kubernetes.io/name': 'bench',
    ...(index > 0 && { 'app.kubernetes.io/instance': `no-${index}` }),
  };
  const spec = { selector, clusterIP: 'None', ports: [{ port: 443 }] };
  return { metadata: { name: `service-${index}` }, spec };
}

/** Creates an object below a path of the API. */
export async function create(
  { cluster }: Pick<Bench, 'cluster'>,
  path: string,
  object: object,
): Promise<void> {
  const { status, body } = await cluster.controlPlane.request('POST', path, object);
  if (status !== 201) throw new Error(`POST ${path}: ${status} ${JSON.stringify(body)}`);
}

/** Creates so many objects, some of them at once. */
export const createMany = (count: number, createOne: (index: number) => Promise<void>) =>
  inParallel(Array.from({ length: count }).keys(), writers, createOne);

/** Deletes all objects below a path of the API, and waits until they are gone. */
export async function removeAll({ cluster }: Pick<Bench, 'cluster'>, path: string): Promise<void> {
  await cluster.controlPlane.request('DELETE', path);
  await waitFor(`nothing at ${path}`, async () => {
    const { body } = await cluster.controlPlane.request('GET', `${path}?limit=1`);
    return body.items.length === 0;
  });
}
