import type { Credential } from '../cluster/certificates.ts';
import type { Trial } from './kubeconfig-client.ts';

/** What the rows are made of: a cluster, an administrator's certificate, and tokens of two ServiceAccounts. */
export interface Parts {
  readonly server: string;
  readonly ca: string;
  readonly admin: Credential;
  readonly one: string;
  readonly two: string;
}

interface Row {
  readonly title: string;
  /** The user, or `refused`. */
  readonly expected: string;
  readonly trial: (parts: Parts) => Trial;
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
const one = 'system:serviceaccount:default:one';
const two = 'system:serviceaccount:default:two';
const v1 = 'client.authentication.k8s.io/v1';

/** A kubeconfig with one context, cluster and user, all called `here`. */
function config(parts: Parts, user: object, cluster: object = {}, more: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'here', user: 'here' } }],
    clusters: [{ name: 'here', cluster: { ...clusterOf(parts), ...cluster } }],
    users: [{ name: 'here', user }],
    ...more,
  };
}

const clusterOf = ({ server, ca }: Parts) => ({ server, 'certificate-authority-data': base64(ca) });
const certificateOf = ({ admin }: Parts) => ({
  'client-certificate-data': base64(admin.certificate),
  'client-key-data': base64(admin.key),
});

/** A plugin that prints this status; `only` has to be in KUBERNETES_EXEC_INFO, as jq sees it. */
const plugin = (status: object, version = v1, only = 'true') =>
  '#!/bin/sh\n' +
  `echo "$KUBERNETES_EXEC_INFO" | jq -e '${only}' >/dev/null || exit 3\n` +
  `cat <<'END'\n${JSON.stringify({ apiVersion: version, kind: 'ExecCredential', status })}\nEND\n`;

const exec = (changes: object = {}) => ({
  exec: { apiVersion: v1, command: './plugin', interactiveMode: 'Never', ...changes },
});

const inFiles = (title: string, expected: string, trial: Row['trial']): Row => ({ title, expected, trial });
const inOneFile = (
  title: string,
  expected: string,
  make: (parts: Parts) => [user: object, cluster?: object, files?: Record<string, string>],
): Row =>
  inFiles(title, expected, (parts) => {
    const [user, cluster, files] = make(parts);
    return { files: { config: config(parts, user, cluster), ...files } };
  });

const lists = ['first', 'second'];
const merging: Row[] = [
  inFiles('of two files with the same names, the first wins', one, (parts) => ({
    files: { first: config(parts, { token: parts.one }), second: config(parts, { token: parts.two }) },
    kubeconfig: lists,
  })),
  inFiles('an entry of a later file adds nothing to one of the same name', one, (parts) => ({
    files: {
      first: config(parts, { token: parts.one }),
      second: config(parts, { as: 'system:serviceaccount:default:two' }),
    },
    kubeconfig: lists,
  })),
  inFiles('a later file names the context where the first does not', two, (parts) => ({
    files: {
      first: config(parts, { token: parts.one }, {}, { 'current-context': '' }),
      second: {
        'current-context': 'there',
        contexts: [{ name: 'there', context: { cluster: 'here', user: 'there' } }],
        users: [{ name: 'there', user: { token: parts.two } }],
      },
    },
    kubeconfig: lists,
  })),
  inFiles('context, cluster and user may be in files of their own', one, (parts) => ({
    files: {
      a: { clusters: [{ name: 'c', cluster: clusterOf(parts) }], users: null },
      b: { users: [{ name: 'u', user: { token: parts.one } }], clusters: null },
      c: { 'current-context': 'x', contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }] },
    },
    kubeconfig: ['a', 'b', 'c'],
  })),
  ...['', '\n', '# nothing\n', '---\n'].map((content) =>
    inFiles(`a file that holds ${JSON.stringify(content)} is passed over`, one, (parts) => ({
      files: { first: content, second: config(parts, { token: parts.one }) },
      kubeconfig: lists,
    })),
  ),
  inFiles('a file that is not there is passed over', one, (parts) => ({
    files: { second: config(parts, { token: parts.one }) },
    kubeconfig: ['missing', 'second', 'gone'],
  })),
  inFiles('a file that cannot be read stops everything', 'refused', (parts) => ({
    files: { first: config(parts, { token: parts.one }), second: 'users: [' },
    kubeconfig: lists,
  })),
  inFiles('an object of another kind stops everything', 'refused', (parts) => ({
    files: { first: config(parts, { token: parts.one }, {}, { kind: 'Secret' }) },
    kubeconfig: ['first'],
  })),
  inFiles('a name twice in one file stops everything', 'refused', (parts) => {
    const user = { name: 'here', user: { token: parts.one } };
    return { files: { config: config(parts, {}, {}, { users: [user, user] }) } };
  }),
  inFiles('without KUBECONFIG the file in the home folder is used', one, (parts) => ({
    files: { '.kube/config': config(parts, { token: parts.one }) },
    env: { KUBECONFIG: '' },
  })),
  inFiles('a context whose cluster is in no file is refused', 'refused', (parts) => ({
    files: { config: config(parts, { token: parts.one }, {}, { clusters: [] }) },
  })),
  inFiles('a context whose user is in no file is refused', 'refused', (parts) => ({
    files: { config: config(parts, {}, {}, { users: [] }) },
  })),
];

const paths: Row[] = [
  inFiles('paths of certificates and keys are relative to their file', 'root', (parts) => ({
    files: {
      'etc/config': config(
        parts,
        { 'client-certificate': '../pki/admin.crt', 'client-key': '../pki/admin.key' },
        { 'certificate-authority': '../pki/ca.crt', 'certificate-authority-data': '' },
      ),
      'pki/admin.crt': parts.admin.certificate,
      'pki/admin.key': parts.admin.key,
      'pki/ca.crt': parts.ca,
    },
    kubeconfig: ['etc/config'],
  })),
  inFiles('the path of a token file is relative to its file', one, (parts) => ({
    files: { 'etc/config': config(parts, { tokenFile: 'token' }), 'etc/token': `${parts.one}\n` },
    kubeconfig: ['etc/config'],
  })),
  inFiles('the path of a plugin is relative to its file', one, (parts) => ({
    files: { 'etc/config': config(parts, exec()), 'etc/plugin': plugin({ token: parts.one }) },
    kubeconfig: ['etc/config'],
  })),
  inOneFile('the name of a plugin is not looked for beside its file', 'refused', (parts) => [
    exec({ command: 'plugin' }),
    {},
    { plugin: plugin({ token: parts.one }) },
  ]),
];

const users: Row[] = [
  inOneFile('a client certificate', 'root', (parts) => [certificateOf(parts)]),
  inOneFile('a client certificate without key is refused', 'refused', ({ admin }) => [
    { 'client-certificate-data': base64(admin.certificate) },
  ]),
  inOneFile('certificate data and a certificate file at once are refused', 'refused', (parts) => [
    { ...certificateOf(parts), 'client-certificate': 'admin.crt' },
    {},
    { 'admin.crt': parts.admin.certificate },
  ]),
  inOneFile('data that is not base64 is refused', 'refused', (parts) => [
    { ...certificateOf(parts), 'client-key-data': '?' },
  ]),
  inOneFile('a token that is a number is refused', 'refused', () => [{ token: 12345 }]),
  inOneFile('a token file wins over a token', two, ({ one, two }) => [
    { token: one, tokenFile: 'token' },
    {},
    { token: two },
  ]),
  inOneFile('a token stands in for a token file that is not there', one, ({ one }) => [
    { token: one, tokenFile: 'gone' },
  ]),
  inOneFile('a token file that is not there is refused', 'refused', () => [{ tokenFile: 'gone' }]),
  inOneFile('a token and a user name at once are refused', 'refused', ({ one }) => [
    { token: one, username: 'u', password: 'p' },
  ]),
  inOneFile('a password, which the API server does not take, is refused', 'refused', () => [
    { username: 'u', password: 'p' },
  ]),
  inOneFile('an auth-provider that kubectl has dropped is refused', 'refused', () => [
    { 'auth-provider': { name: 'gcp', config: {} } },
  ]),
  inOneFile('impersonation of a user', 'jane', (parts) => [{ ...certificateOf(parts), as: 'jane' }]),
  inOneFile('impersonation with groups, a UID and extra fields', 'jane', (parts) => [
    {
      ...certificateOf(parts),
      as: 'jane',
      'as-uid': 'u-1',
      'as-groups': ['team a', 'team-b'],
      'as-user-extra': { reason: ['one', 'two'], 'example.org/Some%Key': ['x'] },
    },
  ]),
  inOneFile('groups without a user are refused', 'refused', (parts) => [
    { ...certificateOf(parts), 'as-groups': ['a'] },
  ]),
  inOneFile('impersonation without the right is refused', 'refused', ({ one }) => [
    { token: one, as: 'jane' },
  ]),
];

const plugins: Row[] = [
  inOneFile('a plugin with arguments and variables', one, ({ one }) => [
    {
      exec: {
        apiVersion: v1,
        interactiveMode: 'Never',
        command: 'sh',
        args: ['-c', `echo "$ANSWER"`],
        env: [
          {
            name: 'ANSWER',
            value: JSON.stringify({ apiVersion: v1, kind: 'ExecCredential', status: { token: one } }),
          },
        ],
      },
    },
  ]),
  inOneFile('a plugin is told of the cluster where it asks for that', one, ({ one, server }) => [
    exec({ provideClusterInfo: true }),
    { extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'a' } }] },
    {
      plugin: plugin(
        { token: one },
        v1,
        `.kind == "ExecCredential" and .spec.interactive == false and .spec.cluster.server == "${server}" and ` +
          '(.spec.cluster["certificate-authority-data"] | length > 100) and .spec.cluster.config.audience == "a"',
      ),
    },
  ]),
  inOneFile('a plugin is not told of the cluster otherwise', one, ({ one }) => [
    exec(),
    {},
    { plugin: plugin({ token: one }, v1, `.spec.cluster == null and .apiVersion == "${v1}"`) },
  ]),
  inOneFile('a plugin of v1beta1, which has no interactiveMode', one, ({ one }) => [
    exec({ apiVersion: `${v1}beta1`, interactiveMode: undefined }),
    {},
    { plugin: plugin({ token: one }, `${v1}beta1`) },
  ]),
  inOneFile('a plugin of v1 without interactiveMode is refused', 'refused', ({ one }) => [
    exec({ interactiveMode: undefined }),
    {},
    { plugin: plugin({ token: one }) },
  ]),
  inOneFile('a plugin that needs a terminal is refused without one', 'refused', ({ one }) => [
    exec({ interactiveMode: 'Always' }),
    {},
    { plugin: plugin({ token: one }) },
  ]),
  inOneFile('an answer of another version is refused', 'refused', ({ one }) => [
    exec(),
    {},
    { plugin: plugin({ token: one }, `${v1}beta1`) },
  ]),
  inOneFile('a plugin of an unknown version is refused', 'refused', ({ one }) => [
    exec({ apiVersion: `${v1}alpha1` }),
    {},
    { plugin: plugin({ token: one }, `${v1}alpha1`) },
  ]),
  inOneFile('a client certificate of a plugin', 'root', ({ admin }) => [
    exec(),
    {},
    { plugin: plugin({ clientCertificateData: admin.certificate, clientKeyData: admin.key }) },
  ]),
  inOneFile('a certificate of a plugin without key is refused', 'refused', ({ admin }) => [
    exec(),
    {},
    { plugin: plugin({ clientCertificateData: admin.certificate }) },
  ]),
  inOneFile('a token of a plugin that has expired already is used once', one, ({ one }) => [
    exec(),
    {},
    { plugin: plugin({ token: one, expirationTimestamp: '2020-01-01T00:00:00Z' }) },
  ]),
  inOneFile('a plugin that gives nothing is refused', 'refused', () => [exec(), {}, { plugin: plugin({}) }]),
  inOneFile('a plugin that fails is refused', 'refused', () => [
    exec(),
    {},
    { plugin: '#!/bin/sh\nexit 1\n' },
  ]),
  inOneFile('a plugin that is not installed is refused', 'refused', () => [
    exec({ command: 'kubespiffe-no-such-plugin', installHint: 'get it' }),
  ]),
  inOneFile('a plugin is not run beside a token', one, ({ one }) => [
    { token: one, ...exec() },
    {},
    { plugin: '#!/bin/sh\nexit 1\n' },
  ]),
];

const servers: Row[] = [
  inOneFile('a server without verification', one, ({ one }) => [
    { token: one },
    { 'certificate-authority-data': '', 'insecure-skip-tls-verify': true },
  ]),
  inOneFile('a certificate authority and no verification at once are refused', 'refused', ({ one }) => [
    { token: one },
    { 'insecure-skip-tls-verify': true },
  ]),
  inOneFile('a server whose authority is not known is refused', 'refused', ({ one }) => [
    { token: one },
    { 'certificate-authority-data': '' },
  ]),
  inOneFile('authority data and an authority file at once are refused', 'refused', ({ one, ca }) => [
    { token: one },
    { 'certificate-authority': 'ca.crt' },
    { 'ca.crt': ca },
  ]),
  inOneFile('a server is verified by the name that is given', one, ({ one }) => [
    { token: one },
    { 'tls-server-name': 'kubernetes.default.svc' },
  ]),
  inOneFile('a server that has not the name that is given is refused', 'refused', ({ one }) => [
    { token: one },
    { 'tls-server-name': 'elsewhere.example' },
  ]),
  inOneFile('a server as host and port is one of http, which the API server refuses', 'refused', (parts) => [
    { token: parts.one },
    { server: new URL(parts.server).host },
  ]),
  inOneFile('a cluster without server is refused', 'refused', ({ one }) => [{ token: one }, { server: '' }]),
];

export const rows: readonly Row[] = [...merging, ...paths, ...users, ...plugins, ...servers];
