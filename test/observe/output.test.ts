import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { createOutput } from '../../signer/observe/output.ts';

const observe = join(import.meta.dirname, '../../signer/observe');

/** A process that writes log and audit lines for three seconds, and reports its longest pause and its drops. */
const writer = `
  const { createLogger } = await import('${observe}/log.ts');
  const { createAudit } = await import('${observe}/audit.ts');
  const { realTime } = await import('${observe}/../kube/time.ts');
  const { standardOutput } = await import('${observe}/output.ts');
  const output = standardOutput();
  const log = createLogger({ level: 'info', destination: output.log });
  const audit = createAudit({ replica: 'a', destination: output.audit, time: realTime });
  const dropped = { log: 0, audit: 0 };
  output.onDropped((stream) => { dropped[stream] += 1; });
  const text = 'x'.repeat(500);
  let number = 0;
  let longestMs = 0;
  let last = performance.now();
  const turns = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - last);
    last = performance.now();
    for (let round = 0; round < 50; round += 1, number += 1) {
      log.info({ number, text }, 'said');
      if (round < 10) audit({ outcome: 'Issued', number, text });
    }
    if (number === 5000) {
      clearInterval(turns);
      process.send({ longestMs, dropped });
    }
  }, 5);
  const alive = setInterval(() => {}, 1000);
  process.on('message', () => { log.info('read again'); clearInterval(alive); process.disconnect(); });
`;

describe('standard output without a reader', () => {
  it('standard output without a reader stops no process: log lines are dropped, audit lines are kept', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    const [{ longestMs, dropped }] = (await once(child, 'message')) as [
      { longestMs: number; dropped: { log: number; audit: number } },
    ];
    assert.ok(longestMs < 1000, `the event loop stood still for ${longestMs} ms`);
    assert.ok(dropped.log > 1000, `${dropped.log} log lines dropped`);
    assert.equal(dropped.audit, 0);

    child.send('go on');
    assert.ok(child.stdout);
    const lines = (await text(child.stdout))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const reported = lines.filter(({ droppedLogLines }) => droppedLogLines !== undefined);
    const total = reported.reduce((sum, { droppedLogLines }) => sum + droppedLogLines, 0);
    assert.ok(total >= dropped.log, 'dropped lines are reported once the output is read');
    assert.equal(lines.filter(({ msg }) => msg === 'said').length, 5000 - dropped.log);
    assert.equal(lines.filter(({ audit }) => audit).length, 1000);
  });

  it('standard output without a reader does not keep a process from ending', async () => {
    const script = `${writer.replace('process.send(', 'process.exit(3);(')}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    const [code] = await once(child, 'exit');
    assert.equal(code, 3);
  });

  it('lines that wait for a reader of standard output are limited, audit lines included', () => {
    const output = createOutput(() => {
      throw new Error('EAGAIN');
    });
    const dropped = { log: 0, audit: 0 };
    output.onDropped((stream) => {
      dropped[stream] += 1;
    });
    const line = `${'x'.repeat(1023)}\n`;
    for (let index = 0; index < 5000; index += 1) {
      output.log.write(line);
      output.audit.write(line);
    }
    assert.ok(dropped.log + dropped.audit >= 10_000 - 4096, JSON.stringify(dropped));
    assert.ok(dropped.audit < dropped.log);
  });
});
