import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { realTime } from '../../signer/kube/time.ts';
import { createAudit } from '../../signer/observe/audit.ts';
import { childOf, createLogger } from '../../signer/observe/log.ts';

function memory() {
  const lines: Record<string, unknown>[] = [];
  return { lines, write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
}

test('a log line is JSON with an ISO time, the name of the level and no host facts', () => {
  const destination = memory();
  createLogger({ level: 'info', destination }).info({ pod: 'shop/web' }, 'issued');
  const [line] = destination.lines;
  assert.equal(line?.level, 'info');
  assert.equal(line?.msg, 'issued');
  assert.equal(line?.pod, 'shop/web');
  assert.match(String(line?.time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(Object.keys(line ?? {}).sort(), ['level', 'msg', 'pod', 'time']);
});

test('a child logger adds its fields, and follows the level of its parent', () => {
  const destination = memory();
  const parent = createLogger({ level: 'info', destination });
  const child = childOf(parent, { signer: 'kubespiffe.io/spiffe' });
  child.debug({}, 'not yet');
  parent.level = 'debug';
  child.debug({ pod: 'web' }, 'now');
  parent.level = 'error';
  child.warn('no more');
  parent.error('of all signers');
  const seen = destination.lines.map(({ msg, signer, pod }) => [msg, signer, pod]);
  assert.deepEqual(seen, [
    ['now', 'kubespiffe.io/spiffe', 'web'],
    ['of all signers', undefined, undefined],
  ]);
});

test('an error is logged with its message and stack', () => {
  const destination = memory();
  createLogger({ level: 'info', destination }).error({ err: new Error('no route') }, 'watch failed');
  const error = destination.lines[0]?.err as { message: string; stack: string };
  assert.equal(error.message, 'no route');
  assert.match(error.stack, /log\.test\.ts/);
});

test('an audit record is one line, marked as audit, at any log level', () => {
  const destination = memory();
  createLogger({ level: 'error', destination });
  const audit = createAudit({ replica: 'signer-0', destination, time: realTime });
  audit({
    event: 'pod-certificate',
    outcome: 'Issued',
    reason: 'Issued',
    signer: 'kubespiffe.io/spiffe',
    namespace: 'shop',
    request: { name: 'req-1', uid: 'r' },
    pod: { name: 'web', uid: 'p' },
    serviceAccount: { name: 'web', uid: 's' },
    node: { name: 'node-a', uid: 'n' },
    serial: '0a',
  });
  const [line] = destination.lines;
  assert.equal(line?.audit, true);
  assert.equal(line?.replica, 'signer-0');
  assert.equal(line?.serial, '0a');
  assert.deepEqual(line?.pod, { name: 'web', uid: 'p' });
  assert.equal(line?.level, 'info');
});

for (const [how, end] of [
  ['that comes to its end', ''],
  ['that exits in the middle', 'process.exit(0);'],
  ['that fails', "throw new Error('a fault');"],
  ['that is stopped later', 'setTimeout(() => process.exit(0), 50);'],
] as const) {
  test(`the output of a process ${how} has all its lines, in order`, () => {
    const observe = join(import.meta.dirname, '../../signer/observe');
    const script = `
      const { createLogger } = await import('${observe}/log.ts');
      const { createAudit } = await import('${observe}/audit.ts');
      const { realTime } = await import('${observe}/../kube/time.ts');
      const { standardOutput } = await import('${observe}/output.ts');
      const output = standardOutput();
      const log = createLogger({ level: 'info', destination: output.log });
      const audit = createAudit({ replica: 'a', destination: output.audit, time: realTime });
      for (let number = 0; number < 500; number += 1) {
        log.info({ number }, 'said');
        audit({ outcome: 'Issued', number });
      }
      ${end}`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const expected = Array.from({ length: 500 }, (_, number) => number);
    assert.deepEqual(
      lines.filter(({ audit }) => !audit).map(({ number }) => number),
      expected,
    );
    assert.deepEqual(
      lines.filter(({ audit }) => audit).map(({ number }) => number),
      expected,
    );
  });
}
