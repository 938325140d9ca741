import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { KubespiffeError } from '../../../spiffe/errors.ts';
import { parseConfig } from '../../../workload/helper/parse-config.ts';
import { makeCa } from '../../spiffe/pki/authorities.ts';
import { run } from '../../tools/run.ts';
import { credentialsFor, newVolume } from '../credentials.ts';
import { openWorkshop, type Workshop } from './helper.ts';

const read = (text: string, options = {}) => parseConfig('helper.conf', text, options);
const x509 =
  'svid_file_name = "svid.pem"\nsvid_key_file_name = "key.pem"\nsvid_bundle_file_name = "bundle.pem"\n';
const basic = `agent_address = "/run/agent.sock"\ncert_dir = "certs"\n${x509}`;

const everyKey = `# every key
agent_address = "/run/agent.sock" // the socket
cmd = ""
cmd_args = ""
pid_file_name = "/run/server.pid"
cert_dir = "certs"
daemon_mode = true
add_intermediates_to_bundle = true
renew_signal = "SIGUSR1"
${x509}jwt_svids = [{jwt_audience="a", jwt_extra_audiences=["b", "c"], jwt_svid_file_name="jwt.token"}]
jwt_bundle_file_name = "bundle.json"
include_federated_domains = true
cert_file_mode = 0444
key_file_mode = 0400
jwt_bundle_file_mode = 0640
jwt_svid_file_mode = 0440
hint = "internal"
/* a block,
   without "=" */
health_checks {
  listener_enabled = true
  bind_port = 8082
  readiness_path = "/readiness"
}
`;

describe('a configuration of spiffe-helper', () => {
  it('a configuration of spiffe-helper means the same for kubespiffe helper, key by key', async () => {
    const { config, differences } = await read(everyKey);
    assert.deepEqual(config, {
      source: { kind: 'socket', socket: 'unix:///run/agent.sock', hint: 'internal' },
      folder: 'certs',
      files: [
        { name: 'svid.pem', mode: 0o444, content: { kind: 'pem', parts: ['leaf'] } },
        { name: 'key.pem', mode: 0o400, content: { kind: 'pem', parts: ['key'] } },
        {
          name: 'bundle.pem',
          mode: 0o444,
          content: { kind: 'pem', parts: ['roots', 'intermediates', 'federatedRoots'] },
        },
        { name: 'bundle.json', mode: 0o640, content: { kind: 'jwtBundles' } },
        { name: 'jwt.token', mode: 0o440, content: { kind: 'jwtSvid', audience: ['a', 'b', 'c'] } },
      ],
      reload: { signal: { name: 'SIGUSR1', target: { pidFile: '/run/server.pid' } }, command: undefined },
      health: { port: 8082, livePath: '/live', readyPath: '/readiness' },
      once: false,
    });
    assert.deepEqual(
      differences.map((one) => one.split(':')[0]),
      ['liveness_path'],
    );
  });

  it('a configuration of spiffe-helper has the defaults of spiffe-helper', async () => {
    const { config, differences } = await read(`cert_dir = "certs"\n${x509}`);
    assert.deepEqual(config.source, {
      kind: 'socket',
      socket: 'unix:///tmp/spire-agent/public/api.sock',
      hint: undefined,
    });
    assert.deepEqual(
      config.files.map(({ mode }) => mode),
      [0o644, 0o600, 0o644],
    );
    assert.deepEqual([config.health, config.once, differences], [undefined, false, []]);
    const { config: other } = await read(`cert_dir = "certs"\n${x509}`, {
      defaultSocket: 'unix:///run/other',
    });
    assert.deepEqual(other.source, { kind: 'socket', socket: 'unix:///run/other', hint: undefined });
  });

  it('a configuration of spiffe-helper may be JSON', async () => {
    const { config } = await read(
      JSON.stringify({ cert_dir: 'certs', svid_key_file_name: 'k', daemon_mode: 'false' }),
    );
    assert.deepEqual([config.files[0].name, config.once], ['k', true]);
  });

  it('a command without signal runs after each change, with arguments in double quotes', async () => {
    const { config, differences } = await read(
      `${basic}cmd = "psql"\ncmd_args = "-p 5432 -c \\"SELECT \\"\\"a\\"\\" FROM b;\\""\nrenew_signal = ""`,
    );
    assert.deepEqual(config.reload.command, ['psql', '-p', '5432', '-c', 'SELECT "a" FROM b;']);
    assert.deepEqual(differences, []);
  });

  it('a server in cmd is not started, which is reported, and gets its signal by its name', async () => {
    const { config, differences } = await read(
      `${basic}cmd = "/usr/sbin/mosquitto"\nrenew_signal = "SIGHUP"`,
    );
    assert.deepEqual(config.reload, {
      signal: { name: 'SIGHUP', target: { process: 'mosquitto' } },
      command: undefined,
    });
    assert.match(
      differences.join('\n'),
      /^cmd and cmd_args: \/usr\/sbin\/mosquitto is not started.*\nrenew_signal: the process named mosquitto gets SIGHUP$/,
    );
  });

  for (const [what, text] of [
    [
      'blocks in place of a list',
      'jwt_svids { jwt_audience = "a", jwt_svid_file_name = "a" }\njwt_svids {\n jwt_audience = "b"\n jwt_svid_file_name = "b"\n}\n',
    ],
    [
      'a list with a line for each brace',
      'jwt_svids = [\n  {\n    jwt_audience = "a"\n    jwt_svid_file_name = "a"\n  },\n{\n jwt_audience = "b"\n jwt_svid_file_name = "b"\n}\n]\n',
    ],
  ] as const) {
    it(`a configuration of spiffe-helper may have ${what}`, async () => {
      const { config } = await read(`cert_dir = "certs"\n${text}`);
      assert.deepEqual(
        config.files.map(({ name, content }) => [name, content]),
        ['a', 'b'].map((one) => [one, { kind: 'jwtSvid', audience: [one] }]),
      );
    });
  }

  it('omit_expired in a configuration of spiffe-helper is reported as a difference', async () => {
    assert.match(
      (await read(`${basic}omit_expired = true`)).differences.join(),
      /^omit_expired: all roots are written/,
    );
  });

  for (const [what, text, sentence] of [
    ['a mode without leading zero', `${basic}cert_file_mode = 444`, 'cert_file_mode "444" is not a mode'],
    [
      'a pid file without signal',
      `${basic}pid_file_name = "/a"`,
      'renew_signal is required for pid_file_name',
    ],
    ['a key that spiffe-helper does not know', `${basic}svid_files = "a"`, 'svid_files is not a key'],
    [
      'a token without file',
      `${basic}jwt_svids = [{jwt_audience="a"}]`,
      'jwt_svids[0].jwt_svid_file_name is required',
    ],
    ['no folder', x509, 'cert_dir is required'],
    ['a path in a name', `${basic}jwt_bundle_file_name = "a/b"`, 'jwt_bundle_file_name "a/b" has a "/"'],
    [
      'arguments with an open quote',
      `${basic}cmd = "a"\ncmd_args = "\\"b c"`,
      'cmd_args has a quotation mark',
    ],
    ['a string that is not closed', 'cert_dir = "certs', 'line 1: it cannot be read'],
    [
      'a list that is not closed',
      'cert_dir = "a"\njwt_svids = [{jwt_audience="a"}',
      'line 2: "," or "]" is expected, not "the end of the file"',
    ],
    ['a key without its "="', 'cmd "x"\ncert_dir = "a"', 'line 1: "=" after cmd is expected, not "x"'],
    ['lists in lists without end', `a = ${'['.repeat(100_000)}`, 'less depth is expected'],
  ] as const) {
    it(`a configuration of spiffe-helper is refused with ${what}`, async () => {
      const error: KubespiffeError = await read(text).then(
        () => assert.fail('it was taken'),
        (thrown) => thrown,
      );
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.ok(error.message.includes(sentence), error.message);
    });
  }
});

describe('kubespiffe helper with a configuration of spiffe-helper', () => {
  let shop: Workshop;
  before(() => {
    shop = openWorkshop();
  });
  after(() => shop[Symbol.dispose]());

  it('kubespiffe helper with a configuration of spiffe-helper writes files from the volume of --credentials', async () => {
    const ca = await makeCa();
    const credentials = await credentialsFor('spiffe://example.org/web', ca);
    const volume = newVolume(shop.folder, { 'credentials.pem': credentials.pem, 'roots.pem': ca.pem });
    const out = join(shop.folder, 'certs');
    const config = `${basic.replace('"certs"', `"${out}"`)}cmd = "ghostunnel"\nrenew_signal = "SIGUSR1"\ndaemon_mode = false\n`;
    const args = ['helper', '--config', '-', '--credentials', volume];
    const { code, stderr } = await run(args, { input: config });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^not as in spiffe-helper: cmd and cmd_args: ghostunnel is not started/m);
    assert.equal(readFileSync(join(out, 'svid.pem'), 'utf8'), credentials.chainPem);
    assert.equal(readFileSync(join(out, 'bundle.pem'), 'utf8'), ca.pem);
    assert.equal(statSync(join(out, 'key.pem')).mode & 0o777, 0o600);
  });
});
