import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ExecSurroundings, runExecPlugin } from '../../signer/kube/exec-plugin.ts';
import { realTime } from '../../signer/kube/time.ts';
import { waitFor } from '../cluster/process.ts';
import { timeWith } from './fake-time.ts';

const apiVersion = 'client.authentication.k8s.io/v1';
const cluster = {
  of: { server: 'https://here.example', isInsecure: false },
  ca: undefined,
} as Parameters<typeof runExecPlugin>[1];

describe('a credential plugin', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'exec-plugin-'));
  });
  after(() => rm(folder, { recursive: true }));

  function runScript(script: string, surroundings: Partial<ExecSurroundings> = {}) {
    const exec = {
      apiVersion,
      command: 'sh',
      args: ['-c', script],
      env: {},
      interactiveMode: 'Never',
      providesClusterInfo: false,
      installHint: undefined,
    } as const;
    return runExecPlugin(exec, cluster, {
      env: process.env,
      isTerminal: false,
      time: realTime,
      ...surroundings,
    });
  }
  const printed = (text: string) => runScript(`printf %s '${text}'`);
  const credential = (status: string) => `{"kind":"ExecCredential","apiVersion":"${apiVersion}",${status}}`;

  /** A script that never ends, and that has started a process which keeps its output open. */
  const hangs = (name: string) =>
    `sleep 600 2> /dev/null & echo $$ $! > ${path.join(folder, name)}.new;` +
    `mv ${path.join(folder, name)}.new ${path.join(folder, name)}; wait`;
  const startedProcesses: number[] = [];
  after(() => {
    for (const pid of startedProcesses) process.kill(pid, 'SIGKILL');
  });
  const pidOf = async (name: string) => {
    const file = path.join(folder, name);
    await waitFor('the plugin to start', () => existsSync(file));
    const [pid = Number.NaN, started = Number.NaN] = (await readFile(file, 'utf8')).split(' ').map(Number);
    startedProcesses.push(started);
    return pid;
  };
  const isGone = (pid: number) => waitFor('the plugin to end', () => !existsSync(`/proc/${pid}/fd/1`));

  test('a credential plugin is ended after a minute without a terminal', async () => {
    let passMinute = () => undefined as undefined;
    const timer = (run: () => void, ms: number) => {
      assert.equal(ms, 60_000);
      passMinute = () => void run();
      return () => undefined;
    };
    const result = runScript(hangs('slow'), { time: timeWith({ timer }) });
    const pid = await pidOf('slow');
    passMinute();
    await assert.rejects(result, /^Error: plugin sh did not end within 60 s$/);
    await isGone(pid);
  });

  test('a credential plugin may run without limit at a terminal', async () => {
    const timer = () => assert.fail('a timer was set');
    const { token } = await runScript(`echo '${credential('"status":{"token":"t"}')}'`, {
      time: timeWith({ timer }),
      isTerminal: true,
    });
    assert.equal(token, 't');
  });

  test('a credential plugin ends with the process that started it', async () => {
    const stopping = new AbortController();
    const result = runScript(hangs('stopped'), { signal: stopping.signal });
    const pid = await pidOf('stopped');
    stopping.abort();
    await assert.rejects(result, /was ended with the process/);
    await isGone(pid);
    await assert.rejects(
      runScript('exec sleep 600', { signal: stopping.signal }),
      /was ended with the process/,
    );
  });

  test('a credential plugin is ended when it prints more than 1 MiB', async () => {
    await assert.rejects(runScript('yes'), /^Error: plugin sh printed more than 1048576 bytes$/);
  });

  test('a credential plugin is refused if its output is not one JSON object with unique names, quoting nothing', async () => {
    const rows: [output: string, problem: RegExp][] = [
      ['', /its output is not JSON$/],
      ['s3cr3t', /its output is not JSON$/],
      [`${credential('"status":{"token":"s3cr3t"}')}s3cr3t`, /its output is not JSON$/],
      ['["s3cr3t"]', /its output is not a JSON object$/],
      [credential('"status":{"token":"s3cr3t","token":"other"}'), /its output has a name twice$/],
      [credential('"kind":"ExecCredential","status":{"token":"s3cr3t"}'), /its output has a name twice$/],
      [credential('"status":["s3cr3t"]'), /gave neither a token nor a certificate$/],
      ['{"kind":"ExecCredential","apiVersion":"v1"}', /did not print an ExecCredential of/],
    ];
    for (const [output, problem] of rows) {
      await assert.rejects(printed(output), (error: Error) => {
        assert.match(error.message, problem);
        assert.doesNotMatch(error.message, /s3cr3t/);
        return true;
      });
    }
  });
});
