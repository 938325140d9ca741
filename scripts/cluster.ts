// A real cluster to try things on: `node scripts/cluster.ts start` leaves it running and prints its KUBECONFIG,
// `… stop` ends it. One at a time for each checkout; its state is in .cache/cluster.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startControlPlane } from '../test/cluster/control-plane.ts';
import { startNode } from '../test/cluster/node.ts';
import { waitFor } from '../test/cluster/process.ts';

const folder = join(import.meta.dirname, '../.cache/cluster');
const imageArchive = join(import.meta.dirname, '../dist/kubespiffe-image.tar');
const pidFile = join(folder, 'pid');
const kubeconfigFile = join(folder, 'kubeconfig');
const logFile = join(folder, 'log');

const verb = process.argv[2];
if (verb === 'start') await start();
else if (verb === 'stop') await stop();
else if (verb === 'hold') await hold();
else throw new Error('usage: cluster.ts start | stop');

async function start(): Promise<void> {
  if (holder() === undefined) {
    mkdirSync(folder, { recursive: true });
    rmSync(kubeconfigFile, { force: true });
    const log = openSync(logFile, 'w');
    const child = spawn(process.execPath, [import.meta.filename, 'hold'], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    writeFileSync(pidFile, String(child.pid));
    child.unref();
  }
  await running();
  console.log(
    `The cluster is running until 'make clean'. To use it:\n\n  export KUBECONFIG=${kubeconfigFile}\n`,
  );
  const { kubectl } = JSON.parse(readFileSync(join(folder, 'tools.json'), 'utf8')) as { kubectl: string };
  console.log(`If you have no kubectl:\n\n  alias kubectl='${kubectl}'\n`);
  console.log(
    'Its node has our image under the name that manifests/base has, and the images of manifests/examples:\n\n' +
      '  kubectl apply --server-side -k manifests/base\n' +
      '  bin/kubespiffe ca create --ca-id first --trust-domain example.org\n' +
      '  kubectl --namespace kubespiffe rollout status deployment/kubespiffe-signer\n' +
      '  kubectl apply -f manifests/examples/pod.yaml\n\n' +
      "With Helm, in place of the first command ('make helm' builds one):\n\n" +
      '  helm install kubespiffe manifests/chart --namespace kubespiffe --create-namespace \\\n' +
      '    --set settings.trustDomain=example.org --set image.tag=dev\n',
  );
}

/** Shows what the owner of the cluster does until it runs: an interrupted `start` may have left it at its work. */
async function running(): Promise<void> {
  let shown = 0;
  const outcome = await waitFor(
    'the cluster',
    () => {
      // Looked at first: an owner that has ended has written everything.
      const isHeld = holder() !== undefined;
      const isRunning = existsSync(kubeconfigFile);
      const text = readFileSync(logFile, 'utf8');
      if (!isRunning || shown > 0) process.stderr.write(text.slice(shown));
      shown = text.length;
      if (!isHeld) return 'ended';
      return isRunning && 'running';
    },
    { timeoutMs: 30 * 60_000, everyMs: 200 },
  );
  if (outcome === 'ended') throw new Error(`the cluster ended while it started; ${logFile} says why`);
}

async function stop(): Promise<void> {
  const pid = holder();
  if (pid === undefined) return;
  process.kill(pid, 'SIGTERM');
  await waitFor('the end of the cluster', () => holder() === undefined);
  console.log('The cluster is stopped.');
}

/** Process id of the cluster's owner, if it is still that process. */
function holder(): number | undefined {
  try {
    const pid = readFileSync(pidFile, 'utf8');
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(import.meta.filename)
      ? Number(pid)
      : undefined;
  } catch {
    return undefined;
  }
}

async function hold(): Promise<void> {
  const report = (line: string) => console.log(line);
  report('starting the control plane');
  const controlPlane = await startControlPlane({ complete: true, report });
  if (process.getuid?.() === 0) {
    report('joining a node');
    const node = await startNode(controlPlane);
    report('loading the image of kubespiffe into the node');
    await node.importImage(imageArchive);
  } else report('no node joins: that needs root');
  const kubectl = (controlPlane.binaries.command('kubectl') ?? []).join(' ');
  writeFileSync(join(folder, 'tools.json'), JSON.stringify({ kubectl }));
  writeFileSync(kubeconfigFile, readFileSync(controlPlane.kubeconfig), { mode: 0o600 });
  const keepAlive = setInterval(() => {}, 1 << 30);
  process.on('SIGTERM', () => {
    clearInterval(keepAlive);
    void controlPlane.stop().then(() => rmSync(folder, { recursive: true, force: true }));
  });
}
