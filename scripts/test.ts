// Runs the tests: `unit` needs nothing but npm packages and Go, `cluster` a real Kubernetes or real servers, `variants` the
// end-to-end tests on other versions of Kubernetes. Test files are found by folder, so that a new one cannot be forgotten.
import { globSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { badInput } from '../test/bad-input/rows.ts';

const root = join(import.meta.dirname, '..');

/** The longest files of the cluster tests. They start first, so that none of them is still running at the end by itself. */
const longest = [
  'test/e2e/names.test.ts',
  'test/e2e/walkthroughs.test.ts',
  'test/contract/bench.test.ts',
  'test/e2e/rotation.test.ts',
  'test/contract/rotation-soak.test.ts',
  'test/e2e/token.test.ts',
  'test/e2e/identity.test.ts',
  'test/e2e/coming-from.test.ts',
  'test/contract/api-outage.test.ts',
  'test/e2e/getting-started.test.ts',
  'test/contract/doctor.test.ts',
  'test/contract/federation.test.ts',
  'test/e2e/one-trust-domain.test.ts',
  'test/contract/ca-rotate.test.ts',
  'test/e2e/federation.test.ts',
  'test/contract/identity-tools.test.ts',
  'test/contract/kube.test.ts',
  'test/contract/company-pki.test.ts',
  'test/contract/ca.test.ts',
  'test/contract/token-outage.test.ts',
  'test/contract/rotation.test.ts',
];

/** These compare durations that they measure, so they run with nothing beside them. */
const alone = ['test/contract/takeover.test.ts', 'test/contract/token-flood.test.ts'];

/** Cluster tests wait more than they compute, so four files share two cores well. */
const clusterConcurrency = 4;

/**
 * A failed cluster test may leave a cluster running. Its file ends all the same. With this flag Node drops results that are not
 * written yet, of one file 26 of 66, so fast tests end by themselves.
 */
const forceExit = ['--test-force-exit'];

/** Milliseconds after which a file that still runs has failed: twice what the longest takes on two cores. */
const fileEndsWithinMs = 600_000;

/** The end-to-end tests on what `cluster` leaves out. */
const variants = '1.37.1+beta 1.36.3 1.35.4 1.37.1+1.35.4';

// A short-lived program spends half of its CPU time on its start, and the tests start hundreds: Node keeps compiled code,
// and programs in Go collect garbage less often.
process.env.NODE_COMPILE_CACHE = join(root, '.cache/compile');
process.env.GOGC = '400';

const all = globSync('test/**/*.test.ts', { cwd: root }).toSorted();
const isEndToEnd = (file: string) => file.startsWith('test/e2e/');
const needsCluster = (file: string) => isEndToEnd(file) || /^test\/(contract|manifests|servers)\//.test(file);
const together = all.filter((file) => needsCluster(file) && !alone.includes(file));

const kind = process.argv[2] ?? 'unit';
if (kind === 'unit') {
  await runFiles(
    all.filter((file) => !needsCluster(file)),
    availableParallelism(),
  );
} else if (kind === 'cluster') {
  await runFiles([...longest, ...together.filter((file) => !longest.includes(file))], clusterConcurrency);
  await runFiles(alone, 1);
} else if (kind === 'variants') {
  process.env.KUBESPIFFE_TEST_CLUSTERS = variants;
  await runFiles(together.filter(isEndToEnd), clusterConcurrency);
} else {
  console.error('usage: test.ts unit | cluster | variants');
  process.exitCode = 2;
}

/** Runs the files in this order, and says at the end which took longest. A failure is the exit code of this process. */
async function runFiles(files: readonly string[], concurrency: number): Promise<void> {
  if (files.length === 0) throw new Error('no test files found');
  const took = new Map<string, number>();
  const passed = new Set<string>();
  const paths = files.map((file) => join(root, file));
  const results = run({
    files: paths,
    concurrency,
    cwd: root,
    timeout: fileEndsWithinMs,
    execArgv: kind === 'unit' ? [] : forceExit,
  });
  results.on('test:fail', () => {
    process.exitCode = 1;
  });
  results.on('test:pass', ({ name, file = '', skip, todo }) => {
    if (skip === undefined && todo === undefined) passed.add(`${relative(root, file)}: ${name}`);
  });
  results.on('test:complete', ({ name, details }) => {
    if (paths.includes(name)) took.set(name.slice(root.length + 1), details.duration_ms);
  });
  for await (const text of results.compose(spec)) process.stdout.write(text);
  for (const [file, name] of badInput.flatMap(({ tests }) => tests)) {
    const test = `test/${file}: ${name}`;
    if (!files.includes(`test/${file}`) || passed.has(test)) continue;
    // The result of a cluster test may have been dropped, if it was not a failure.
    if (kind !== 'unit' && readFileSync(join(root, 'test', file), 'utf8').includes(name)) continue;
    console.error(`no such test has passed, which a row of test/bad-input names: ${test}`);
    process.exitCode = 1;
  }
  const slowest = [...took].toSorted(([, a], [, b]) => b - a).slice(0, 8);
  console.log(`longest: ${slowest.map(([file, ms]) => `${file} ${(ms / 1000).toFixed(0)} s`).join(', ')}`);
}
