import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { KubespiffeError } from '../../../spiffe/errors.ts';
import type { ReloadConfig } from '../../../workload/helper/config.ts';
import { findProcess } from '../../../workload/helper/processes.ts';
import { reload } from '../../../workload/helper/reload.ts';
import { type Child, startChild, waitFor } from '../../cluster/process.ts';
import { openWorkshop, type Workshop } from './helper.ts';

let shop: Workshop;
before(() => {
  shop = openWorkshop();
});
after(() => shop[Symbol.dispose]());

const path = (name: string) => join(shop.folder, name);
const { signal } = new AbortController();
const hour = 3_600_000;
const refusalOf = (asked: Promise<unknown>): Promise<KubespiffeError> =>
  asked.then(
    () => assert.fail('it was done'),
    (error) => error,
  );
const hup = (target: NonNullable<ReloadConfig['signal']>['target']): ReloadConfig => ({
  signal: { name: 'SIGHUP', target },
  command: undefined,
});
const runs = (...command: [string, ...string[]]): ReloadConfig => ({ signal: undefined, command });

/** A process that has ended may stay in the list of processes until its parent takes note. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A server with two workers of the same name, which write down who gets a signal. The workers end with the server. */
async function startServer(name: string): Promise<Child> {
  const trap = (who: string) => `trap 'echo ${who} >> ${path(`${name}.log`)}' HUP`;
  const worker = `(printf ${name} > /proc/$BASHPID/comm; ${trap('worker')}; while kill -0 $$ 2>/dev/null; do sleep 0.05; done) &`;
  const script = `printf ${name} > /proc/$$/comm; ${trap('main')}; ${worker} ${worker}
echo $$ > ${path(`${name}.pid`)}; while :; do sleep 0.05; done`;
  const server = startChild(name, ['bash', '-c', script], { logFile: path(`${name}.out`) });
  await waitFor('the server', () => existsSync(path(`${name}.pid`)), { needs: [server] });
  return server;
}

describe('a reload', () => {
  it('a reload signals the process with the configured name, not its children, once it can handle signals', async () => {
    const server = await startServer('web-server');
    try {
      assert.equal((await findProcess({ process: 'web-server' })).pid, server.pid);
      const config = hup({ process: 'web-server' });
      assert.equal(
        await reload(config, Date.now() + hour, signal),
        undefined,
        'it has only just been started',
      );
      const done = await waitFor('the signal', () => reload(config, Date.now() + hour, signal), {
        needs: [server],
      });
      assert.deepEqual(done, [`sent SIGHUP to process ${server.pid}`]);
      const log = () =>
        existsSync(path('web-server.log')) ? readFileSync(path('web-server.log'), 'utf8') : '';
      await waitFor('its arrival', () => log() !== '', { needs: [server] });
      assert.equal(log(), 'main\n');
    } finally {
      await server.stop('SIGKILL');
    }
  });

  it('a reload sends nothing to a process that was started after the files were written', async () => {
    const server = await startServer('new-server');
    try {
      assert.deepEqual(await reload(hup({ pidFile: path('new-server.pid') }), Date.now() - hour, signal), []);
    } finally {
      await server.stop('SIGKILL');
    }
  });

  it('a reload finds a program of Node.js by its command line, because the kernel calls it MainThread', async () => {
    const program = path('own-node');
    symlinkSync(process.execPath, program);
    const server = startChild('node', [program, '-e', 'setInterval(() => {}, 1000)'], {
      logFile: path('node.out'),
    });
    try {
      const found = await waitFor('the process', () => findProcess({ process: 'own-node' }), {
        needs: [server],
      });
      assert.equal(found.pid, server.pid);
    } finally {
      await server.stop('SIGKILL');
    }
  });

  it('a reload sends nothing if several programs have the name', async () => {
    const servers = [await startServer('twin'), await startServer('twin')];
    try {
      const message = `several processes are named twin: ${servers
        .map(({ pid }) => pid)
        .toSorted((a, b) => a - b)
        .join(', ')}`;
      assert.equal(
        (await refusalOf(reload(hup({ process: 'twin' }), Date.now() + hour, signal))).message,
        message,
      );
    } finally {
      for (const server of servers) await server.stop('SIGKILL');
    }
  });

  it('a reload runs a command without a shell', async () => {
    assert.deepEqual(
      await reload(runs('/bin/sh', '-c', `echo "$1" > ${path('ran')}`, 'sh', 'a; b'), 0, signal),
      ['ran /bin/sh'],
    );
    assert.equal(readFileSync(path('ran'), 'utf8'), 'a; b\n');
  });

  for (const [what, content, sentence] of [
    ['is missing', undefined, 'cannot be read (ENOENT)'],
    ['is empty', '', 'does not begin with the number of a process'],
    ['has a word', 'nginx\n', 'does not begin with the number of a process'],
    ['has 0, which means the own group of processes', '0\n', 'does not begin with the number of a process'],
    ['has -1, which means every process', '-1\n', 'does not begin with the number of a process'],
    ['has a number that is too large', '99999999999\n', 'does not begin with the number of a process'],
    ['has a process that does not exist', '4194305\n', 'names process 4194305, which does not exist'],
    ['has the helper itself', `${process.pid}\n`, `names process ${process.pid}, which is the helper itself`],
  ] as const) {
    it(`a reload fails with a reason if a pid file ${what}`, async () => {
      const pidFile = path(`pid-${what.replaceAll(/\W/g, '-')}`);
      if (content !== undefined) writeFileSync(pidFile, content);
      const { code, message, hint } = await refusalOf(reload(hup({ pidFile }), 0, signal));
      assert.equal(code, 'RELOAD_FAILED');
      assert.ok(message.includes(sentence), message);
      assert.ok(hint);
    });
  }

  it('a reload does not wait for a pid file that is a named pipe', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    assert.match(
      (await refusalOf(reload(hup({ pidFile: path('pipe') }), 0, signal))).message,
      /does not begin with/,
    );
  });

  it('a reload fails with a reason if no process has the name', async () => {
    const { message, hint } = await refusalOf(reload(hup({ process: 'no-such-server' }), 0, signal));
    assert.equal(message, 'no process is named no-such-server');
    assert.match(hint ?? '', /shareProcessNamespace: true/);
  });

  for (const [what, command, sentence] of [
    ['fails', ['/bin/sh', '-c', 'exit 3'], '/bin/sh failed: exit code 3'],
    ['does not exist', ['/no/such/program'], '/no/such/program failed: spawn /no/such/program ENOENT'],
    ['does not end', ['sleep', '60'], 'sleep failed: it took longer than 0.3 s and was ended'],
  ] as const) {
    it(`a reload fails with a reason if a command ${what}`, async () => {
      const { code, message } = await refusalOf(reload(runs(...(command as [string])), 0, signal, 300));
      assert.deepEqual([code, message], ['RELOAD_FAILED', sentence]);
    });
  }

  for (const [what, timeoutMs] of [
    ['takes too long', 300],
    ['runs when the helper ends', hour],
  ] as const) {
    it(`a reload leaves no process behind of a command that ${what}`, async () => {
      const pids = path(`pids-${timeoutMs}`);
      const ending = new AbortController();
      const script = `sleep 600 & echo $$ $! > ${pids}.new; mv ${pids}.new ${pids}; wait`;
      const refused = refusalOf(reload(runs('sh', '-c', script), 0, ending.signal, timeoutMs));
      await waitFor('the command', () => existsSync(pids));
      if (timeoutMs === hour) ending.abort();
      assert.equal((await refused).code, 'RELOAD_FAILED');
      const [shell, child] = readFileSync(pids, 'utf8').trim().split(' ');
      for (const pid of [shell, child]) await waitFor(`the end of ${pid}`, () => !isRunning(Number(pid)));
    });
  }

  for (const [what, act, sentence] of [
    ['takes too long', 'mock.timers.tick(1_000)', 'it took longer than 1 s and cannot be ended (EPERM)'],
    ['runs when the helper ends', 'ending.abort()', 'it cannot be ended (EPERM)'],
  ] as const) {
    const skip = process.getuid?.() === 0 ? false : 'only root can change its user';
    it(`a reload fails with a reason if a command that has changed its user ${what}`, { skip }, async () => {
      const module = join(import.meta.dirname, '../../../workload/helper/reload.ts');
      const code = `
        import { once } from 'node:events';
        import { mock } from 'node:test';
        const { reload } = await import('${module}');
        mock.timers.enable({ apis: ['setTimeout'] });
        const ending = new AbortController();
        process.once('SIGUSR2', () => ${act});
        const command = ['setpriv', '--reuid=65534', '--clear-groups', 'sh', '-c', 'echo $$; exec sleep 600'];
        const asked = reload({ signal: undefined, command }, 0, ending.signal, 1_000);
        await asked.catch(({ message }) => console.log(message));`;
      // Root without this right may end its own processes only, as any user.
      const withoutKill = ['setpriv', '--bounding-set=-kill', '--inh-caps=-kill'];
      const program = [...withoutKill, process.execPath, '--input-type=module', '-e', code];
      const helper = startChild('helper', program, {
        logFile: path(`unended-${what.replaceAll(/\W/g, '-')}`),
      });
      const pid = await waitFor('the command', () => /^\d+$/m.exec(helper.lastLines())?.[0], {
        needs: [helper],
      });
      try {
        process.kill(helper.pid, 'SIGUSR2');
        assert.equal(await helper.exited, 'exit code 0', helper.lastLines());
        assert.equal(helper.lastLines(), `${pid}\nsetpriv failed: ${sentence}`);
        assert.ok(isRunning(Number(pid)));
      } finally {
        process.kill(Number(pid), 'SIGKILL');
      }
    });
  }
});
