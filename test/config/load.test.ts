import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Config } from '../../signer/config/config.ts';
import { formatProblems, loadConfig } from '../../signer/config/load.ts';
import { createTable } from '../../signer/config/table.ts';

interface Input {
  argv?: string[];
  env?: Record<string, string | undefined>;
  file?: string;
}

function load({ argv = [], env = {}, file }: Input) {
  const readFile = async (path: string) => {
    if (file === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
    return file;
  };
  const withFile = file === undefined ? argv : [...argv, '--config', 'signer.yaml'];
  return loadConfig({ argv: withFile, env, readFile, host: { name: 'Work_Station', pid: 42 } });
}

async function good(input: Input): Promise<Config> {
  const loaded = await load(input);
  if (loaded.kind === 'config') return loaded.config;
  throw new assert.AssertionError({
    message: loaded.kind === 'problems' ? formatProblems(loaded.problems) : 'help',
  });
}

async function problems(input: Input): Promise<string[]> {
  const loaded = await load(input);
  if (loaded.kind !== 'problems')
    throw new assert.AssertionError({ message: `no problem found: ${loaded.kind}` });
  return formatProblems(loaded.problems).split('\n');
}

const trustDomain = ['--trust-domain', 'example.org'];
const header = 'apiVersion: kubespiffe.io/v1alpha1\nkind: SignerConfiguration\n';

const ofEachSigner = {
  bundleSuffix: 'roots',
  rootsConfigMap: undefined,
  maxLifetimeSeconds: 86_400,
  rootPropagationSeconds: 390,
  refreshFraction: 0.5,
  leafPodIdentity: false,
  leafIssuer: undefined,
  rotation: {
    isAutomatic: false,
    issuer: undefined,
    policy: {
      lifetimeSeconds: 365 * 86_400,
      prepareAfterSeconds: 0,
      previewSeconds: 0,
      requiresVerification: false,
      hasUpstream: false,
      activateAfterSeconds: 120 * 86_400,
      jwtActivateAfterSeconds: 30 * 86_400,
      retireAfterSeconds: 3_600,
    },
  },
};

test('a configuration with only the trust domain is enough', async () => {
  assert.deepEqual(await good({ argv: trustDomain }), {
    trustDomain: 'example.org',
    ...{ defaultIdentity: 'serviceAccount', registrationClass: undefined, clusterName: undefined },
    podAnnotations: [],
    serviceDomains: ['svc.cluster.local'],
    requestAdmission: 'policy',
    kubeconfig: undefined,
    context: undefined,
    namespace: 'kubespiffe',
    replica: 'work-station-42',
    concurrency: 64,
    takeoverDelayMs: 1000,
    metricsAddress: { host: '127.0.0.1', port: 9402 },
    logLevel: 'info',
    tracesEndpoint: undefined,
    tracesRatio: 1,
    federation: false,
    federateByDefault: 'all',
    federationAllowedAddresses: [],
    keyBackends: [],
    pkcs11Module: undefined,
    pkcs11PinFile: undefined,
    keyConcurrency: 32,
    signers: {
      spiffe: { ...ofEachSigner, enabled: true, pool: { namespace: 'kubespiffe', name: 'kubespiffe-pool' } },
      'pod-identity': {
        ...ofEachSigner,
        enabled: true,
        pool: { namespace: 'kubespiffe', name: 'kubespiffe-pool' },
      },
      'service-dns': {
        ...ofEachSigner,
        enabled: false,
        pool: { namespace: 'kubespiffe', name: 'kubespiffe-service-dns-pool' },
      },
    },
    endpoints: undefined,
  });
});

test('a root is published for three refresh hints, and one more than its delay, if peers fetch it', async () => {
  const polled = [...trustDomain, '--bundle-spiffe-address', ':8444', '--token-refresh-hint', '5m'];
  const seconds = async (...argv: string[]) => (await good({ argv })).signers.spiffe.rootPropagationSeconds;
  assert.equal(await seconds(...polled), 900);
  assert.equal(await seconds(...polled, '--root-propagation-delay', '1h'), 3900);
  assert.equal(await seconds(...polled.with(-1, '1m')), 390 + 60);
  assert.equal(
    await seconds(...trustDomain, '--token-refresh-hint', '5m', '--root-propagation-delay', '0s'),
    0,
  );
});

test('in a pod, replica and namespace come from the downward API', async () => {
  const config = await good({
    argv: trustDomain,
    env: { POD_NAME: 'signer-abc', POD_NAMESPACE: 'identity' },
  });
  assert.equal(config.replica, 'signer-abc');
  assert.equal(config.namespace, 'identity');
});

test('a replica name of more than 128 characters is shortened, and stays unique', async () => {
  const name = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(40)}`;
  const replica = async (text: string) => {
    const given = await good({ argv: [...trustDomain, '--replica', text] });
    const inPod = await good({ argv: trustDomain, env: { POD_NAME: text } });
    assert.equal(inPod.replica, given.replica);
    return given.replica;
  };
  assert.equal(await replica(name.slice(0, 128)), name.slice(0, 128));
  const [one, other] = [await replica(`${name}1`), await replica(`${name}2`)];
  assert.notEqual(one, other);
  for (const short of [one, other]) assert.match(short, /^(?=.{1,128}$)a{60}\.b+-[0-9a-f]{16}$/);

  const checked = await load({ argv: [...trustDomain, '--replica', `${name}1`, '--check-config'] });
  assert.ok(checked.kind === 'config');
  assert.ok(checked.summary.includes(`replica: ${one}   # flag --replica\n`), checked.summary);
});

test('a flag wins over the environment, the environment over the file, the file over the default', async () => {
  const file = `${header}trustDomain: file.example\nmaxLifetime: 3h\nconcurrency: 3\nrefreshFraction: 0.3\n`;
  const env = { KUBESPIFFE_TRUST_DOMAIN: 'env.example', KUBESPIFFE_MAX_LIFETIME: '2h' };
  const config = await good({ argv: ['--trust-domain=flag.example'], env, file });
  assert.equal(config.trustDomain, 'flag.example');
  assert.equal(config.signers.spiffe.maxLifetimeSeconds, 7200);
  assert.equal(config.concurrency, 3);
  assert.equal(config.signers.spiffe.refreshFraction, 0.3);
  assert.equal(config.takeoverDelayMs, 1000);
});

test('leaves name their pod and the issuer if the settings ask for it', async () => {
  const file = `${header}leafPodIdentity: true\nleafIssuer: true\njwtIssuer: https://id.example.org\n`;
  const config = await good({ argv: trustDomain, file });
  assert.equal(config.signers.spiffe.leafPodIdentity, true);
  assert.equal(config.signers.spiffe.leafIssuer, 'https://id.example.org');
  const off = await good({ argv: [...trustDomain, '--leaf-issuer', 'false'], file });
  assert.equal(off.signers.spiffe.leafIssuer, undefined);
});

test('the configuration file may be named by the environment', async () => {
  const readFile = async (path: string) =>
    path === '/etc/signer.yaml' ? `${header}trustDomain: a.example` : '';
  const loaded = await loadConfig({ argv: [], env: { KUBESPIFFE_CONFIG: '/etc/signer.yaml' }, readFile });
  assert.equal(loaded.kind === 'config' && loaded.config.trustDomain, 'a.example');
});

test('all problems of all sources are reported at once, each with its place', async () => {
  const file = `${header}trustdomain: example.org\nmaxLifetime: 24\nconcurrency: 0\nmaxLifetime2:\n  a: 1\n`;
  const env = { KUBESPIFFE_LOGLEVEL: 'info', KUBESPIFFE_REFRESH_FRACTION: '2' };
  const argv = ['--pol', 'a/b', '--metrics-address', '9402', '--takeover-delay', 'extra', 'word'];
  assert.deepEqual(await problems({ argv, env, file }), [
    'flag --pol: there is no such flag; did you mean --pool?',
    'arguments: "a/b" is not expected here; settings are flags',
    'arguments: "word" is not expected here; settings are flags',
    'environment KUBESPIFFE_LOGLEVEL: there is no such setting; did you mean KUBESPIFFE_LOG_LEVEL?',
    'signer.yaml:3: "trustdomain" is not a setting; did you mean "trustDomain"?',
    'signer.yaml:6: "maxLifetime2" is not a setting; did you mean "maxLifetime"?',
    'flag --metrics-address: "9402" is not HOST:PORT; write such as 127.0.0.1:9402, [::1]:9402 or :9402',
    'flag --takeover-delay: "extra" is not a duration; write numbers with units (d, h, m, s, ms), such as 1h30m',
    'environment KUBESPIFFE_REFRESH_FRACTION: "2" is not a number from 0.1 to 0.9',
    'signer.yaml:4 maxLifetime: "24" is not a duration; write numbers with units (d, h, m, s, ms), such as 1h30m',
    'signer.yaml:5 concurrency: "0" is not a whole number from 1 to 80',
    'flag --trust-domain: is required; a SPIFFE trust domain name: lower-case letters, digits, `.`, `-` and `_`, ' +
      'at most 255 characters',
  ]);
});

test('a wrong value is a problem even if another source overrides it', async () => {
  const [problem] = await problems({ argv: trustDomain, env: { KUBESPIFFE_TRUST_DOMAIN: 'Example.org' } });
  assert.match(problem ?? '', /^environment KUBESPIFFE_TRUST_DOMAIN: "Example\.org" /);
});

test('a domain of Services is refused if names of two namespaces could be the same', async () => {
  for (const domain of [
    'cluster.local',
    'svc',
    'svc.svc',
    'svc.svc.cluster.local',
    'SVC.cluster.local',
    '',
  ]) {
    const [problem] = await problems({ argv: [...trustDomain, `--service-domains=svc.a,${domain}`] });
    assert.match(
      problem ?? '',
      /^flag --service-domains: .*(svc\.cluster\.local|lower case|empty entry)/,
      domain,
    );
  }
});

test('a domain of Services is refused if names get too long', async () => {
  const longest = `svc.${'a'.repeat(57)}`;
  assert.deepEqual((await good({ argv: [...trustDomain, '--service-domains', longest] })).serviceDomains, [
    longest,
  ]);
  const [problem] = await problems({ argv: [...trustDomain, '--service-domains', `${longest}a`] });
  assert.match(problem ?? '', /has more than 61 characters/);
});

test('a domain of Services that is given twice is used once', async () => {
  const argv = [...trustDomain, '--service-domains', 'svc.a,svc.b,svc.a'];
  assert.deepEqual((await good({ argv })).serviceDomains, ['svc.a', 'svc.b']);
});

const wrongFlags: [string[], RegExp][] = [
  [['--trust-domain'], /^flag --trust-domain: needs a value; a SPIFFE trust domain name/],
  [['--trust-domain='], /^flag --trust-domain: needs a value; a SPIFFE trust domain name/],
  [[...trustDomain, '--x509-svid'], /^flag --x509-svid: needs a value; one of `true`, `false`$/],
  [[...trustDomain, ...trustDomain], /^flag --trust-domain: is given twice/],
  [['--trust-domain', 'spiffe://example.org'], /^flag --trust-domain: "spiffe:\/\/example\.org" /],
  [
    ['--trust-domain', 'dev.localhost'],
    /^flag --trust-domain: "dev\.localhost" is for `kubespiffe dev` only/,
  ],
  [['--trust-domain', 'team.dev.localhost'], /is for `kubespiffe dev` only.*; choose a name of your own/],
  [['--trust-domain', 'exa mple'], /^flag --trust-domain: /],
  [['--trust-domain', `${'a'.repeat(256)}`], /^flag --trust-domain: /],
  [[...trustDomain, '--pool', 'kubespiffe-pool'], /^flag --pool: "kubespiffe-pool" is not NAMESPACE\/NAME/],
  [[...trustDomain, '--pool', 'a/b/c'], /is not NAMESPACE\/NAME/],
  [[...trustDomain, '--pool', 'A/b'], /has a part "A"/],
  [[...trustDomain, '--pool', 'a/B'], /has a part "B"/],
  [[...trustDomain, '--bundle-suffix', 'a:b'], /is not a Kubernetes name/],
  [[...trustDomain, '--replica', 'Pod'], /is not a Kubernetes name/],
  [[...trustDomain, '--namespace', 'a.b'], /is not the name of a namespace/],
  [[...trustDomain, '--max-lifetime', '59m'], /is not between 1h and 91d/],
  [[...trustDomain, '--max-lifetime', '92d'], /is not between 1h and 91d/],
  [[...trustDomain, '--max-lifetime', '-24h'], /is not a duration/],
  [[...trustDomain, '--concurrency', '1.5'], /is not a whole number from 1 to 80/],
  [[...trustDomain, '--leaf-pod-identity', 'yes'], /is not one of true, false/],
  [
    [...trustDomain, '--token-client-certificates', 'true'],
    /^flag --spiffe-leaf-pod-identity: must be true with --token-client-certificates$/,
  ],
  [[...trustDomain, '--leaf-issuer', 'true'], /^flag --jwt-issuer: is required with --leaf-issuer; /],
  [[...trustDomain, '--refresh-fraction', '1'], /is not a number from 0.1 to 0.9/],
  [[...trustDomain, '--metrics-address', ':70000'], /has port 70000/],
  [[...trustDomain, '--metrics-address', '[127.0.0.1]:1'], /is not an IPv6 address/],
  [[...trustDomain, '--log-level', 'dbug'], /is not one of error, .*; did you mean "debug"\?/],
  [[...trustDomain, '--check-config=yes'], /^flag --check-config: there is no such flag/],
];
for (const [argv, message] of wrongFlags) {
  test(`the arguments are refused: ${argv.join(' ').slice(0, 70)}`, async () => {
    const found = await problems({ argv });
    assert.ok(
      found.some((problem) => message.test(problem)),
      found.join('\n'),
    );
  });
}

const goodFlags: [string[], Partial<Config>][] = [
  [['--metrics-address', ':9402'], { metricsAddress: { host: '', port: 9402 } }],
  [['--metrics-address', '[::1]:0'], { metricsAddress: { host: '::1', port: 0 } }],
  [['--metrics-address=localhost:1'], { metricsAddress: { host: 'localhost', port: 1 } }],
  [['--takeover-delay', '1m'], { takeoverDelayMs: 60_000 }],
  [['--takeover-delay', '1500ms'], { takeoverDelayMs: 1500 }],
  [['--takeover-delay', '1s500ms'], { takeoverDelayMs: 1500 }],
  [['--replica', 'a.b-c'], { replica: 'a.b-c' }],
];
for (const [argv, expected] of goodFlags) {
  test(`the arguments are accepted: ${argv.join(' ')}`, async () => {
    const config = await good({ argv: [...trustDomain, ...argv] });
    assert.partialDeepStrictEqual(config, expected);
  });
}

const spiffe: [input: Input, expected: Partial<Config['signers']['spiffe']>][] = [
  [{ argv: ['--max-lifetime', '91d'] }, { maxLifetimeSeconds: 7_862_400 }],
  [{ argv: ['--spiffe-max-lifetime', '1h30m'] }, { maxLifetimeSeconds: 5400 }],
  [{ env: { KUBESPIFFE_SPIFFE_LEAF_POD_IDENTITY: 'true' } }, { leafPodIdentity: true }],
  [{ env: { KUBESPIFFE_LEAF_POD_IDENTITY: 'true' } }, { leafPodIdentity: true }],
  [{ file: `${header}bundleSuffix: ours\n` }, { bundleSuffix: 'ours' }],
  [
    { file: `${header}signers:\n  spiffe:\n    pool: a/b\n    refreshFraction: 0.7\n` },
    { pool: { namespace: 'a', name: 'b' }, refreshFraction: 0.7 },
  ],
  [
    { argv: ['--spiffe-max-lifetime', '2h'], env: { KUBESPIFFE_SPIFFE_MAX_LIFETIME: '3h' } },
    { maxLifetimeSeconds: 7200 },
  ],
  [
    { argv: ['--max-lifetime', '24h'], file: `${header}signers:\n  spiffe:\n    maxLifetime: 1d\n` },
    { maxLifetimeSeconds: 86_400 },
  ],
];
for (const [input, expected] of spiffe) {
  test(`a setting of the signer spiffe: ${JSON.stringify(input).slice(0, 120)}`, async () => {
    const { signers } = await good({ ...input, argv: [...trustDomain, ...(input.argv ?? [])] });
    assert.partialDeepStrictEqual(signers.spiffe, expected);
  });
}

const contradictions: [name: string, input: Input, problem: string][] = [
  [
    'two flags',
    { argv: ['--pool', 'a/b', '--spiffe-pool', 'c/d'] },
    'flag --spiffe-pool: "c/d" contradicts "a/b" of flag --pool; both names mean signers.spiffe.pool, so set only ' +
      'one of them',
  ],
  [
    'a flag and the file, although a flag wins over the file under the same name',
    { argv: ['--max-lifetime', '2h'], file: `${header}signers:\n  spiffe:\n    maxLifetime: 3h\n` },
    'signer.yaml:5 signers.spiffe.maxLifetime: "3h" contradicts "2h" of flag --max-lifetime; both names mean ' +
      'signers.spiffe.maxLifetime, so set only one of them',
  ],
  [
    'two keys of the file',
    { file: `${header}bundleSuffix: a\nsigners:\n  spiffe:\n    bundleSuffix: b\n` },
    'signer.yaml:6 signers.spiffe.bundleSuffix: "b" contradicts "a" of signer.yaml:3 bundleSuffix; both names mean ' +
      'signers.spiffe.bundleSuffix, so set only one of them',
  ],
];
for (const [name, input, problem] of contradictions) {
  test(`different values under both names of a setting are refused: ${name}`, async () => {
    const found = await problems({ ...input, argv: [...trustDomain, ...(input.argv ?? [])] });
    assert.deepEqual(found, [problem]);
  });
}

test('a signer that declares settings gets a section of its own with them, its defaults, and no other names', async () => {
  const table = createTable({
    spiffe: { settings: ['pool', 'maxLifetime'] },
    'service-dns': {
      settings: ['pool', 'maxLifetime'],
      different: { pool: { default: 'kubespiffe/kubespiffe-dns-pool' } },
    },
  });
  const load = async (input: Input) => {
    const { argv = [], env = {}, file = header } = input;
    const given = [...trustDomain, ...argv, '--config', 'signer.yaml'];
    const loaded = await loadConfig({ argv: given, env, readFile: async () => file }, table);
    assert.ok(loaded.kind !== 'help');
    return loaded.kind === 'config' ? loaded.config.signers : formatProblems(loaded.problems);
  };
  const lifetimes = { argv: ['--service-dns-max-lifetime', '2h'], env: { KUBESPIFFE_MAX_LIFETIME: '3h' } };
  assert.partialDeepStrictEqual(await load(lifetimes), {
    spiffe: { maxLifetimeSeconds: 10_800, pool: { name: 'kubespiffe-pool' } },
    'service-dns': {
      maxLifetimeSeconds: 7200,
      pool: { name: 'kubespiffe-dns-pool' },
      bundleSuffix: 'roots',
      leafPodIdentity: false,
    },
  });
  const env = { KUBESPIFFE_SERVICE_DNS_POOL: 'a/b' };
  const file = `${header}signers:\n  service-dns:\n    maxLifetime: 4h\n`;
  assert.partialDeepStrictEqual(await load({ env, file }), {
    'service-dns': { maxLifetimeSeconds: 14_400, pool: { namespace: 'a', name: 'b' } },
  });
  assert.match(
    String(await load({ file: `${header}signers:\n  service-dns:\n    leafIssuer: true\n` })),
    /^signer\.yaml:5: "signers\.service-dns\.leafIssuer" is not a setting$/,
  );
});

test('pod-identity has pool and lifetimes of spiffe, and a section of its own for the rest', async () => {
  const argv = [...trustDomain, '--pool', 'a/b', '--max-lifetime', '2h', '--bundle-suffix', 'ours'];
  const { spiffe, 'pod-identity': podIdentity } = (await good({ argv })).signers;
  assert.deepEqual(podIdentity, { ...spiffe, bundleSuffix: 'roots' });
  const own = ['--pod-identity-enabled', 'false', '--pod-identity-bundle-suffix', 'pods'];
  const { signers } = await good({ argv: [...argv, ...own] });
  assert.deepEqual(signers['pod-identity'], { ...spiffe, enabled: false, bundleSuffix: 'pods' });
  assert.deepEqual(signers.spiffe, spiffe);
  assert.match(
    (await problems({ argv: [...trustDomain, '--pod-identity-pool', 'a/b'] })).join(),
    /--pod-identity-pool/,
  );
});

test('trust domains of 255 characters, or beginning with a hyphen, are accepted', async () => {
  assert.equal((await good({ argv: [`--trust-domain=${'a'.repeat(255)}`] })).trustDomain.length, 255);
  assert.equal((await good({ argv: ['--trust-domain=-a-'] })).trustDomain, '-a-');
});

test('empty variables, those of the launcher and those of Kubernetes for a Service are not settings', async () => {
  const env = {
    KUBESPIFFE_LOG_LEVEL: '',
    KUBESPIFFE_SIGNER_SERVICE_HOST: '10.96.0.7',
    KUBESPIFFE_SIGNER_SERVICE_PORT_METRICS: '9402',
    KUBESPIFFE_SIGNER_PORT: 'tcp://10.96.0.7:9402',
    KUBESPIFFE_SIGNER_PORT_9402_TCP_ADDR: '10.96.0.7',
    KUBESPIFFE_NODE: '/usr/bin/node',
    KUBESPIFFE_TEST_CLUSTERS: '1.36.3',
    OTHER: 'x',
  };
  assert.equal((await good({ argv: trustDomain, env })).logLevel, 'info');
});

const wrongFiles: [string, RegExp][] = [
  [
    'trustDomain: example.org\n',
    /^signer\.yaml: apiVersion is missing; write apiVersion: kubespiffe\.io\/v1alpha1$/,
  ],
  [
    `${header.replace('Signer', 'Singer')}trustDomain: a\n`,
    /^signer\.yaml: kind is "SingerConfiguration"; write kind/,
  ],
  [`${header}trustDomain: a\ntrustDomain: b\n`, /^signer\.yaml:4: Map keys must be unique$/],
  [`${header}trustDomain: [a\n`, /^signer\.yaml:\d: /],
  ['- a\n', /^signer\.yaml:1: must hold settings/],
  ['', /^signer\.yaml:1: must hold settings/],
  [`${header}pool:\n  namespace: a\n  name: b\n`, /^signer\.yaml:3: pool needs one value$/],
  [`${header}signers: spiffe\n`, /^signer\.yaml:3: signers needs keys and values below it$/],
  [`${header}signers:\n  spiffe: a/b\n`, /^signer\.yaml:4: signers\.spiffe needs keys and values below it$/],
  [
    `${header}signers:\n  spife:\n    pool: a/b\n`,
    /^signer\.yaml:4: "signers\.spife" is not a signer; there are spiffe, .*; did you mean "signers\.spiffe"\?$/,
  ],
  [
    `${header}signers:\n  toast:\n    pool: a/b\n`,
    /^signer\.yaml:4: "signers\.toast" is not a signer; there are spiffe\b/,
  ],
  [
    `${header}signers:\n  spiffe:\n    pol: a/b\n`,
    /^signer\.yaml:5: "signers\.spiffe\.pol" is not a setting; did you mean "signers\.spiffe\.pool"\?$/,
  ],
  [
    `${header}signers:\n  spiffe:\n    trustDomain: a\n`,
    /^signer\.yaml:5: "signers\.spiffe\.trustDomain" is not/,
  ],
  [`${header}signers.spiffe.pool: a/b\n`, /^signer\.yaml:3: "signers\.spiffe\.pool" is not a setting/],
  [`${header}trustDomain:\n`, /^signer\.yaml:3: trustDomain needs one value$/],
  [`${header}---\n${header}`, /^signer\.yaml:\d: /],
];
for (const [file, message] of wrongFiles) {
  test(`the configuration file is refused: ${JSON.stringify(file.slice(-50))}`, async () => {
    const found = await problems({ file });
    assert.ok(
      found.some((problem) => message.test(problem)),
      found.join('\n'),
    );
  });
}

for (const name of ['toString', '__proto__', 'constructor', 'hasOwnProperty']) {
  test(`the setting ${name} is refused, which every object has by inheritance`, async () => {
    const found = await problems({ file: `${header}trustDomain: example.org\n${name}: x\n` });
    assert.deepEqual(found, [`signer.yaml:4: "${name}" is not a setting`]);
  });
}

test('a configuration file that begins with a byte order mark is read', async () => {
  assert.equal(
    (await good({ file: `\ufeff${header}trustDomain: example.org\n` })).trustDomain,
    'example.org',
  );
});

test('a file that cannot be read is a problem among the others', async () => {
  const found = await problems({ argv: ['--config', 'nowhere.yaml', '--concurrency', 'x'] });
  assert.equal(found.length, 3);
  assert.match(found[0] ?? '', /^nowhere\.yaml: cannot be read: ENOENT/);
});

test('a numeric value in the file is read as it was written', async () => {
  const config = await good({ file: `${header}trustDomain: 1e3\nconcurrency: 16 # few\n` });
  assert.equal(config.trustDomain, '1e3');
  assert.equal(config.concurrency, 16);
});

test('--check-config is passed on, with a summary of values and where each comes from', async () => {
  const loaded = await load({
    argv: [...trustDomain, '--check-config'],
    env: { KUBESPIFFE_MAX_LIFETIME: '2h' },
  });
  assert.equal(loaded.kind, 'config');
  if (loaded.kind !== 'config') return;
  assert.equal(loaded.checkOnly, true);
  assert.match(loaded.summary, /^trustDomain: example\.org {3}# flag --trust-domain$/m);
  assert.match(
    loaded.summary,
    /^signers:\n {2}spiffe:\n {4}pool: kubespiffe\/kubespiffe-pool {3}# default$/m,
  );
  assert.match(loaded.summary, /^ {4}maxLifetime: 2h {3}# environment KUBESPIFFE_MAX_LIFETIME$/m);
  assert.match(loaded.summary, /^concurrency: 64 {3}# default$/m);
});

test('--help wins over everything', async () => {
  const loaded = await load({ argv: ['--nonsense', '--help'] });
  assert.equal(loaded.kind, 'help');
});

const tokens = [...trustDomain, '--token-address', ':8443', '--jwt-issuer', 'https://id.example.org'];

test('a token endpoint needs an address and an issuer; the rest has defaults', async () => {
  assert.deepEqual((await good({ argv: tokens })).endpoints, {
    issuer: 'https://id.example.org',
    refreshHintSeconds: 300,
    names: ['kubespiffe-tokens.kubespiffe.svc', 'kubespiffe-tokens.kubespiffe.svc.cluster.local'],
    addressRate: 200,
    token: {
      address: { host: '', port: 8443 },
      audiences: {
        token: 'spiffe://example.org/kubespiffe/token-endpoint',
        x509: 'spiffe://example.org/kubespiffe/x509-svid',
      },
      serviceAccountIssuers: [],
      minTlsVersion: 'TLSv1.3',
      clientCertificates: false,
      issuer: 'https://id.example.org',
      lifetimeSeconds: 300,
      algorithm: 'ES256',
      rs256Audiences: [],
      allowedAudiences: undefined,
      maxAudiences: 1,
      propagationDelaySeconds: 0,
      refreshHintSeconds: 300,
      reviewCacheMs: 30_000,
      podRate: 10,
      x509: undefined,
    },
    bundleWeb: undefined,
    bundleSpiffe: undefined,
  });
  const [problem] = await problems({ argv: [...trustDomain, '--token-address', ':8443'] });
  assert.match(problem ?? '', /^flag --jwt-issuer: is required with --token-address; an https URL/);
});

test('certificates at the token endpoint are off by default, and live for an hour at most', async () => {
  const on = [...tokens, '--x509-svid', 'true'];
  assert.deepEqual((await good({ argv: on })).endpoints?.token?.x509, { lifetimeSeconds: 3600 });
  const other = [...on, '--x509-audience', 'ours', '--x509-lifetime', '10m'];
  const { token } = (await good({ argv: other })).endpoints ?? {};
  assert.deepEqual([token?.x509, token?.audiences.x509], [{ lifetimeSeconds: 600 }, 'ours']);
  assert.match((await problems({ argv: [...on, '--x509-lifetime', '61m'] })).join(), /not between 5m and 1h/);
  const alone = await problems({ argv: [...trustDomain, '--x509-svid', 'true'] });
  assert.match(alone.join(), /^flag --token-address: is required with --x509-svid; /);
});

const ownAudience = (name: string) => `spiffe://example.org/kubespiffe/${name}`;
for (const [name, argv, place] of [
  ['both given', ['--token-audience', 'ours', '--x509-audience', 'ours'], '--x509-audience'],
  [
    'one given as the default of the other',
    ['--x509-audience', ownAudience('token-endpoint')],
    '--x509-audience',
  ],
  ['the other given so', ['--token-audience', ownAudience('x509-svid')], '--token-audience'],
] as const) {
  test(`an audience is for one kind of SVID: ${name}`, async () => {
    const found = await problems({ argv: [...tokens, ...argv, '--check-config'] });
    assert.match(
      found.join(),
      new RegExp(
        `^flag ${place}: ".*" is tokenAudience and x509Audience.*; set one of them to another value$`,
      ),
    );
    await good({ argv: [...trustDomain, ...argv] });
  });
}

test('bundle endpoints need no token endpoint, and that of the web needs a certificate', async () => {
  const { endpoints } = await good({ argv: [...trustDomain, '--bundle-spiffe-address', ':8444'] });
  assert.deepEqual(endpoints?.bundleSpiffe, { address: { host: '', port: 8444 } });
  assert.equal(endpoints?.token, undefined);
  const web = [...trustDomain, '--bundle-web-address', ':8445'];
  assert.deepEqual(
    (await problems({ argv: web })).map((problem) => problem.split(';')[0]),
    ['certificate', 'key'].map((what) => `flag --bundle-web-${what}: is required with --bundle-web-address`),
  );
  const files = ['--bundle-web-certificate', '/tls/tls.crt', '--bundle-web-key', '/tls/tls.key'];
  assert.deepEqual((await good({ argv: [...web, ...files] })).endpoints?.bundleWeb, {
    address: { host: '', port: 8445 },
    certificateFile: '/tls/tls.crt',
    keyFile: '/tls/tls.key',
  });
});

test('lists in settings are separated by commas', async () => {
  const { endpoints } = await good({ argv: [...tokens, '--jwt-audiences', 'vault, https://*'] });
  assert.deepEqual(endpoints?.token?.allowedAudiences, ['vault', 'https://*']);
  assert.match((await problems({ argv: [...tokens, '--token-names', 'a,,b'] }))[0] ?? '', /empty entry/);
});

for (const url of [
  'http://a.example',
  'https://a.example/',
  'https://A.example',
  'https://a.example?x=1',
  'a.example',
]) {
  test(`the JWT issuer ${url} is refused`, async () => {
    const [problem] = await problems({ argv: [...trustDomain, '--jwt-issuer', url] });
    assert.match(problem ?? '', /is not an https URL/);
  });
}

describe('a rotation', () => {
  for (const [argv, problem] of [
    [
      ['--ca-lifetime', '240d'],
      /^flag --ca-lifetime: is 240d, and a CA needs 242d: .*; set it to at least 242d, or caActivateAfter to less$/,
    ],
    [
      ['--service-dns-ca-activate-after', '6m'],
      /^flag --service-dns-ca-activate-after: is 6m, less than caPrepareAfter 0s, caPreviewFor 0s and the propagation delay 390s/,
    ],
    [
      ['--jwt-key-activate-after', '10m'],
      /^flag --jwt-key-activate-after: is 10m, less than the 15m for which a new JWT key must be published/,
    ],
  ] as const) {
    test(`a rotation is refused at the start with ${argv.join(' ')}`, async () => {
      const [found = ''] = await problems({ argv: [...trustDomain, ...argv] });
      assert.match(found, problem);
    });
  }

  test('a rotation may have the longest certificates with the defaults', async () => {
    await good({ argv: [...trustDomain, '--max-lifetime', '91d', '--rotation', 'automatic'] });
  });
});
