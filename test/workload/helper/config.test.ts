import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { KubespiffeError } from '../../../spiffe/errors.ts';
import { parseConfig } from '../../../workload/helper/parse-config.ts';

const header = 'apiVersion: kubespiffe.io/v1alpha1\nkind: HelperConfiguration\n';
const files = 'files: [{ name: a.pem, content: chain }]\n';
const ours = `${header}folder: /run/tls\n${files}`;

const refusalOf = async (text: string): Promise<KubespiffeError> =>
  parseConfig('h', text).then(
    () => assert.fail('it was taken'),
    (error) => error,
  );

/** What is wrong, the text, and the sentence about it. */
const wrong: readonly (readonly [string, string, string])[] = [
  ['an empty file', '', 'cert_dir is required'],
  ['a file that is neither YAML nor HCL', 'folder: /run/tls', 'nor is it a file of spiffe-helper: line 1'],
  ['broken YAML', `${ours}source: {`, 'is not YAML or JSON'],
  ['YAML aliases', `${ours}source: &a { credentials: x }\nreload: *a`, 'YAML aliases'],
  [
    'another kind',
    ours.replace('HelperConfiguration', 'SignerConfiguration'),
    'kind must be HelperConfiguration',
  ],
  ['an unknown key', `${ours}sources: {}`, 'sources is not a key; there are'],
  [
    'an unknown key of a file',
    ours.replace('chain }', 'chain, modes: "0600" }'),
    'files[0].modes is not a key',
  ],
  ['no folder', `${header}${files}`, 'folder is required'],
  ['no files', `${header}folder: /run/tls`, 'files is required'],
  ['a list in place of a text', `${header}folder: [a]\n${files}`, 'folder needs one value'],
  ['a file without name', ours.replace('name: a.pem, ', ''), 'files[0].name is required'],
  ['a file with a path', ours.replace('a.pem', '../a.pem'), 'files[0].name "../a.pem" has a "/"'],
  ['a file with a name of the helper', ours.replace('a.pem', '..data'), 'files[0].name "..data" begins like'],
  [
    'two files with one name',
    ours.replace('}]', '}, { name: a.pem, content: key }]'),
    'two files with the name a.pem',
  ],
  [
    'an unknown part',
    ours.replace('chain', '[chain, keys]'),
    'files[0].content has "keys"; write one of keystore',
  ],
  [
    'a keystore joined with a part',
    ours.replace('chain', '[keystore, key]'),
    'files[0].content has "keystore"',
  ],
  ['a keystore without password', ours.replace('chain', 'keystore'), 'files[0].passwordFile is required'],
  ...(
    [
      ['1025 bytes', 'a'.repeat(1_025)],
      ['513 letters of two bytes', 'é'.repeat(513)],
      ['a byte order mark alone', '\uFEFF'],
    ] as const
  ).map(
    ([what, password]) =>
      [
        `a password of ${what}`,
        ours.replace('chain', `keystore, password: "${password}"`),
        'files[0].password cannot be used; write a password of 1 to 1024 bytes in UTF-8',
      ] as const,
  ),
  [
    'a mode in decimal digits',
    ours.replace('chain', 'chain, mode: 420'),
    'files[0].mode "420" is not a mode',
  ],
  ['a mode with setuid', ours.replace('chain', 'chain, mode: "4755"'), 'files[0].mode "4755" is not a mode'],
  ['a token without audience', ours.replace('chain', 'jwtSvid'), 'files[0].audience is required'],
  [
    'a token without token endpoint',
    ours.replace('chain', 'jwtSvid, audience: a'),
    'source.tokenEndpoint is required for the JWT-SVID in a.pem',
  ],
  [
    'a token endpoint without TLS',
    `${ours}source: { tokenEndpoint: "http://a" }`,
    'source.tokenEndpoint is not a URL',
  ],
  [
    'a socket that is not an address',
    `${ours}source: { socket: /run/socket }`,
    'source.socket an address is unix:///',
  ],
  [
    'a bundle of a name that is not a trust domain',
    `${ours}source: { bundles: { Example: a } }`,
    'source.bundles.Example',
  ],
  [
    'roots of a name that is not a trust domain',
    `${ours}source: { trustDomain: Example }`,
    'source.trustDomain a trust domain has only',
  ],
  [
    'the folder of the source',
    `${ours}source: { credentials: /run/tls/ }`,
    'folder is the folder of the source',
  ],
  [
    'an unknown signal',
    `${ours}reload: { signal: HUP, process: nginx }`,
    'reload.signal "HUP" is not a signal',
  ],
  [
    'SIGKILL',
    `${ours}reload: { signal: SIGKILL, process: nginx }`,
    'reload.signal "SIGKILL" is not a signal',
  ],
  [
    'a signal without a process',
    `${ours}reload: { signal: SIGHUP }`,
    'goes together with one of pidFile and process',
  ],
  ['a process without signal', `${ours}reload: { process: a, command: b }`, 'goes together with one of'],
  ['a port above 65535', `${ours}health: { port: 70000 }`, 'health.port "70000" is not a port'],
  [
    'a health path without slash',
    `${ours}health: { readyPath: ready }`,
    'health.readyPath "ready" is not a path',
  ],
  ['once that is neither true nor false', `${ours}once: yes`, 'once is true or false'],
];

describe('a configuration of the helper', () => {
  for (const [what, text, sentence] of wrong) {
    it(`a configuration of the helper is refused with ${what}`, async () => {
      const { code, message } = await refusalOf(text);
      assert.equal(code, 'CONFIG_INVALID');
      assert.ok(message.includes(sentence), message);
    });
  }

  it('a configuration of the helper is refused with every problem in one message', async () => {
    const { message } = await refusalOf(`${header}files: [{ name: a/b, content: x }]\nonce: maybe`);
    assert.deepEqual(
      message.split('\n').map((line) => line.split(' ')[1]),
      ['folder', 'files[0].name', 'files[0].content', 'once'],
    );
  });

  it('a configuration of the helper may be JSON', async () => {
    const { config } = await parseConfig(
      'h',
      JSON.stringify({
        apiVersion: 'kubespiffe.io/v1alpha1',
        kind: 'HelperConfiguration',
        folder: '/run/tls',
        files: [{ name: 'a.pem', content: ['chain', 'key'], mode: '0640' }],
        once: true,
      }),
    );
    assert.deepEqual(config.files, [
      { name: 'a.pem', mode: 0o640, content: { kind: 'pem', parts: ['chain', 'key'] } },
    ]);
    assert.equal(config.once, true);
    assert.deepEqual(config.source, {
      kind: 'folder',
      credentials: '/run/spiffe',
      trustDomain: undefined,
      bundles: {},
      tokenEndpoint: undefined,
      tokenFile: undefined,
    });
  });

  it('a password in a configuration of the helper has up to 1024 bytes, without its byte order mark', async () => {
    const password = 'é'.repeat(512);
    const content = `keystore, password: "\uFEFF${password}"`;
    const { config } = await parseConfig('h', ours.replace('chain', content));
    assert.deepEqual(config.files[0].content, { kind: 'keystore', password: { text: password } });
  });

  it('any text as configuration is read, or ends in CONFIG_INVALID', async () => {
    const words = [
      'apiVersion',
      ':',
      '=',
      '{',
      '}',
      '[',
      ']',
      '"',
      '\\',
      '#',
      '/*',
      'a',
      '0644',
      ',',
      '\n',
      '&a',
      '*a',
      '__proto__',
    ];
    const texts = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom(...words)).map((all) => all.join(' ')),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        assert.equal((await refusalOf(text)).code, 'CONFIG_INVALID');
      }),
    );
  });
});
