import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { table } from '../../signer/config/table.ts';
import { launcher, run } from './run.ts';
import { shells } from './shells.ts';

/** What is typed, the cursor at its end, and what the shell then offers. */
const lines: [line: string, offered: string[]][] = [
  ['kubespiffe c', ['ca', 'completion']],
  ['kubespiffe ca i', ['import']],
  ['kubespiffe ca create --tru', ['--trust-domain']],
  ['kubespiffe ca create --key-type rsa', ['rsa-3072', 'rsa-4096']],
  ['kubespiffe inspect -o ', ['json', 'yaml']],
  ['kubespiffe inspect p', ['pcr']],
  ['kubespiffe completion f', ['fish']],
  ['kubespiffe explain p', ['pod']],
  ['kubespiffe registration what-if --fi', ['--filename']],
  ['kubespiffe token --endp', ['--endpoint']],
  ['kubespiffe signer --ku', ['--kubeconfig']],
  ['kubespiffe signer --check', ['--check-config']],
  ['kubespiffe signer --log-level ', ['debug', 'error', 'info', 'trace', 'warn']],
  ['kubespiffe ca create --namespace ', ['']],
  ['kubespiffe signer --metrics-address ', ['']],
  ['kubespiffe signer --', ['--config', '--check-config', '--help', ...table.byFlag.keys()]],
];

for (const [name, complete] of Object.entries(shells)) {
  describe(`completion in ${name}`, () => {
    let folder = '';
    let offered: string[][] = [];
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'kubespiffe-completion-'));
      const { code, stdout, stderr } = await run(['completion', name]);
      assert.equal(code, 0, stderr);
      writeFileSync(join(folder, 'script'), stdout);
      offered = complete(
        join(folder, 'script'),
        lines.map(([line]) => line),
      );
    });
    after(() => rmSync(folder, { recursive: true, force: true }));

    for (const [index, [line, expected]] of lines.entries()) {
      it(`completion in ${name} offers the next words of \`${line}\``, () => {
        assert.deepEqual([...(offered[index] ?? [])].sort(), [...expected].sort());
      });
    }
  });
}

describe('completion on a terminal', () => {
  it('completion in bash gives a command no slash if a folder has its name, as in our own checkout', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-completion-'));
    try {
      mkdirSync(join(folder, 'signer'));
      writeFileSync(join(folder, 'script'), (await run(['completion', 'bash'])).stdout);
      const typed = `source ./script; kubespiffe() { echo "ran <$*>"; }\nkubespiffe sig\t\nexit\n`;
      const seen = execFileSync('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], {
        encoding: 'utf8',
        timeout: 60_000,
        cwd: folder,
        input: typed,
        env: { ...process.env, TERM: 'dumb' },
      });
      assert.match(seen, /^ran <signer>/m);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

/** A kubeconfig with one cluster and one user. */
function kubeconfig(server: string, user: object): string {
  return JSON.stringify({
    'current-context': 'one',
    contexts: [{ name: 'one', context: { cluster: 'one', user: 'one' } }],
    clusters: [{ name: 'one', cluster: { server } }],
    users: [{ name: 'one', user }],
  });
}

describe('completion from a cluster that is hostile, or needs a login', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'kubespiffe-completion-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('completion offers no name that the API does not allow, such as one with a command of a shell', async () => {
    const names = [
      'shop',
      'a$(touch x)',
      'a`touch x`',
      'a;touch x',
      'a b',
      'a/b',
      'a\nb',
      'a\u001b[2J',
      '*',
      '',
    ];
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ items: names.map((name) => ({ metadata: { name } })) }));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    try {
      const file = join(folder, 'hostile');
      writeFileSync(file, kubeconfig(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {}));
      const ask = (kind: string, current: string) =>
        run(['__complete', kind, current, 'kubespiffe', '--kubeconfig', file]);
      assert.equal((await ask('namespaces', '')).stdout, 'shop\n');
      assert.equal((await ask('pods', '')).stdout, 'shop/\n');
      assert.equal((await ask('pods', 'shop/')).stdout, 'shop/shop\n');
    } finally {
      server.close();
    }
  });

  for (const [name, complete] of Object.entries(shells)) {
    it(`completion in ${name} runs nothing that is in a name`, async () => {
      const bin = mkdtempSync(join(folder, `${name}-`));
      const [script, ran, asked] = [join(folder, name), join(bin, 'ran'), join(bin, 'asked')];
      writeFileSync(script, (await run(['completion', name])).stdout);
      const listed = ['shop', `shop$(touch ${ran})`, `shop\`touch ${ran}\``, `shop;touch ${ran}`, 'shop*'];
      const lines = listed.map((each) => `'${each}'`).join(' ');
      writeFileSync(join(bin, 'kubespiffe'), `#!/bin/sh\n: > ${asked}\nprintf '%s\\n' ${lines}\n`, {
        mode: 0o755,
      });
      const [offered = []] = complete(script, ['kubespiffe ca create --namespace sho'], {
        PATH: `${bin}${delimiter}${process.env.PATH}`,
      });
      assert.ok(offered.includes('shop'), offered.join('\n'));
      assert.deepEqual(readdirSync(bin).sort(), ['asked', 'kubespiffe']);
    });
  }

  it('completion waits for no credential plugin, which gets no terminal and is ended after three seconds', () => {
    const [file, seen] = [join(folder, 'login'), join(folder, 'seen')];
    const plugin = `if [ -t 0 ]; then echo terminal; else echo none; fi > ${seen}; exec sleep 1000`;
    const exec = {
      ...{ apiVersion: 'client.authentication.k8s.io/v1', interactiveMode: 'IfAvailable' },
      ...{ command: 'sh', args: ['-c', plugin] },
    };
    writeFileSync(file, kubeconfig('https://127.0.0.1:1', { exec }));
    const command = `${launcher} __complete namespaces '' kubespiffe --kubeconfig ${file}`;
    // On a terminal, as at a prompt: there a plugin has no limit otherwise. This fails when it does not end by itself.
    const printed = execFileSync('script', ['-qec', command, '/dev/null'], {
      ...{ encoding: 'utf8', timeout: 30_000, killSignal: 'SIGKILL' },
    });
    assert.equal(printed, '');
    assert.equal(readFileSync(seen, 'utf8'), 'none\n');
  });

  it('completion waits three seconds at most for an API server that never answers', async () => {
    const silent = createTcpServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const file = join(folder, 'silent');
    writeFileSync(
      file,
      kubeconfig(`https://127.0.0.1:${(silent.address() as AddressInfo).port}`, { token: 'a' }),
    );
    const startedAt = performance.now();
    try {
      const ran = await run(['__complete', 'namespaces', '', 'kubespiffe', '--kubeconfig', file]);
      assert.deepEqual([ran.code, ran.stdout], [0, '']);
    } finally {
      silent.close();
    }
    // The handshake alone may take five seconds.
    assert.ok(performance.now() - startedAt < 5_000);
  });
});
