import { join } from 'node:path';
import { blocksBelow, readPage } from '../docs/markdown.ts';
import type { ServerExample } from './example.ts';

const curl = (port: number) => (folder: string) => [
  ...['curl', '--silent', '--show-error', '--fail', '--max-time', '5', '--cacert', join(folder, 'roots.pem')],
  ...['--cert', join(folder, 'credentials.pem'), `https://localhost:${port}/`],
];

const redisCli =
  (port: number, ...options: string[]) =>
  (folder: string) => {
    const credentials = join(folder, 'credentials.pem');
    return [
      ...['redis-cli', '-e', '-h', 'localhost', '-p', String(port), ...options, '--tls'],
      ...['--cacert', join(folder, 'roots.pem'), '--cert', credentials, '--key', credentials],
    ];
  };

const redisAsWeb = redisCli(6379, '--user', 'web', '--pass', 'secret', '--no-auth-warning');

const ping = (command: (folder: string) => readonly string[]) => (folder: string) => [
  ...command(folder),
  'ping',
];

/** The content of the Secret that the guide describes. */
const redisUsers = `cd /run/redis-users; echo helper-secret >helper-password; cat >users.acl <<END
user default off
user helper on >helper-secret resetchannels -@all +config|set
user web on >secret ~* &* +@all -@dangerous
END`;

const pgData = '/var/lib/postgresql/data';
const postgres = '/usr/lib/postgresql/*/bin/postgres';

/** What the image of PostgreSQL does at its first start. */
const initialDatabase = `set -eu
bin=$(dirname ${postgres})
$bin/initdb --no-sync --locale=C --encoding=UTF8 ${pgData}
$bin/pg_ctl -D ${pgData} -w -o '-c listen_addresses= -k /run/postgresql' start
cd /run/config
$bin/createdb -h /run/postgresql shop
for file in 10-spiffe.sql 20-shop.sql; do
  $bin/psql -h /run/postgresql -v ON_ERROR_STOP=1 -f $file shop
done
$bin/pg_ctl -D ${pgData} -w stop`;

const connect = blocksBelow(
  await readPage('docs/guides/postgresql.md'),
  'PostgreSQL: client certificates with a SPIFFE ID',
).find(({ code }) => code.startsWith('psql '));

/** As the guide connects, with the files of the client. */
const psql = (folder: string) => {
  const command = (connect?.code.trimEnd() ?? 'false')
    .replace('host=postgresql', 'host=localhost')
    .replace('/run/tls/ca.crt', join(folder, 'roots.pem'))
    .replaceAll(/\/run\/tls\/tls\.(crt|key)/g, join(folder, 'credentials.pem'));
  return ['sh', '-c', `${command} --no-psqlrc -At "$@"`, 'psql'];
};

const sql = (statement: string) => (folder: string) => [...psql(folder), '-c', statement];

const hello = /^hello spiffe:\/\/example\.org\/ns\/shop\/sa\/web$/;

const haproxy = {
  folder: 'haproxy',
  serverId: 'spiffe://example.org/ns/shop/sa/haproxy',
  user: 'haproxy',
  writable: ['/run/haproxy', '/run/redis'],
  servers: {
    redis: ['redis-server', '--port', '0', '--unixsocket', '/run/redis/redis.sock', '--save', ''],
    haproxy: ['haproxy', '-W', '-f', '/run/config/haproxy.cfg'],
  },
} as const;

export const examples: readonly ServerExample[] = [
  {
    name: 'nginx',
    folder: 'nginx',
    serverId: 'spiffe://example.org/ns/shop/sa/nginx',
    user: 'www-data',
    writable: ['/run/nginx'],
    servers: { nginx: ['nginx', '-c', '/run/config/nginx.conf', '-g', 'daemon off;'] },
    request: curl(8443),
    answer: hello,
    refusal: /error: 403/,
  },
  {
    name: 'HAProxy',
    ...haproxy,
    request: curl(8443),
    answer: hello,
    refusal: /error: 403/,
  },
  {
    name: 'Redis behind HAProxy',
    ...haproxy,
    request: ping(redisCli(6380)),
    session: { command: redisCli(6380), statement: 'ping' },
    answer: /^PONG$/,
    refusal: /Server closed the connection|Connection reset/,
  },
  {
    name: 'Redis',
    folder: 'redis',
    serverId: 'spiffe://example.org/ns/shop/sa/redis',
    user: 'redis',
    writable: ['/run/redis', '/run/redis-users', '/var/lib/redis'],
    prepare: (pod) => pod.run(['sh', '-c', redisUsers]),
    servers: { redis: ['redis-server', '/run/config/redis.conf'] },
    request: ping(redisAsWeb),
    session: { command: redisAsWeb, statement: 'ping' },
    answer: /^PONG$/,
    refusal: undefined,
    requestWithoutPassword: ping(redisCli(6379)),
  },
  {
    name: 'PostgreSQL',
    folder: 'postgresql',
    serverId: 'spiffe://example.org/ns/shop/sa/postgresql',
    user: 'postgres',
    writable: ['/run/postgresql', '/var/lib/postgresql'],
    prepare: (pod) => pod.run(['sh', '-c', initialDatabase]),
    servers: {
      postgres: ['sh', '-c', `exec ${postgres} -D ${pgData} --config-file=/run/config/postgresql.conf`],
    },
    request: sql('select item from orders'),
    session: { command: psql, statement: 'select item from orders;' },
    answer: /^book$/,
    refusal: /may not use role web/,
    alsoRefused: [
      sql("insert into orders (item) values ('pen')"),
      sql("update orders set item = 'pen'"),
      sql('delete from orders'),
      sql('copy orders to stdout'),
      sql('select count(*) from orders'),
    ],
  },
];
