import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { waitFor } from '../cluster/process.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { credentialsFor } from '../workload/credentials.ts';
import { makeWorld, peerCases } from '../workload/peers.ts';
import { makeDisguises } from './disguises.ts';
import { otherId, type RunningExample, type ServerExample, startExample, webId } from './example.ts';

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
      ...['--cacert', join(folder, 'roots.pem'), '--cert', credentials, '--key', credentials, 'ping'],
    ];
  };

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
$bin/initdb --no-sync ${pgData}
$bin/pg_ctl -D ${pgData} -w -o '-c listen_addresses= -k /run/postgresql' start
cd /run/config
$bin/createdb -h /run/postgresql shop
for file in 10-spiffe.sql 20-shop.sql; do
  $bin/psql -h /run/postgresql -v ON_ERROR_STOP=1 -f $file shop
done
$bin/pg_ctl -D ${pgData} -w stop`;

const psql = (folder: string) => {
  const credentials = join(folder, 'credentials.pem');
  const tls = `sslmode=verify-full sslrootcert=${join(folder, 'roots.pem')} sslcert=${credentials} sslkey=${credentials}`;
  return [
    ...['psql', '--no-psqlrc', '-At', '-c', 'select item from orders'],
    `host=localhost dbname=shop user=web ${tls}`,
  ];
};

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

const examples: readonly ServerExample[] = [
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
    request: redisCli(6380),
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
    request: redisCli(6379, '--user', 'web', '--pass', 'secret', '--no-auth-warning'),
    answer: /^PONG$/,
    refusal: undefined,
    requestWithoutPassword: redisCli(6379),
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
    request: psql,
    answer: /^book$/,
    refusal: /may not use role web/,
  },
];

let folder: string;
// Files of a volume are not for everyone, as with `defaultMode: 0440`.
const umask = process.umask(0o027);
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubespiffe-servers-'));
});
after(async () => {
  process.umask(umask);
  await rm(folder, { recursive: true, force: true });
});

for (const example of examples) {
  describe(`${example.name} with the files of kubespiffe helper`, () => {
    let running: RunningExample;
    before(async () => {
      running = await startExample(example, folder);
    });
    after(() => running?.[Symbol.asyncDispose]());

    const { answer, refusal, requestWithoutPassword } = example;
    if (refusal) {
      it('lets the client in by its SPIFFE ID, and no other workload of the trust domain', async () => {
        const { ask, ca } = running;
        assert.match((await ask(await credentialsFor(webId, ca), ca.pem)).trim(), answer);
        for (const other of [otherId, `${webId}2`, webId.slice(0, -1)]) {
          await assert.rejects(ask(await credentialsFor(other, ca), ca.pem), refusal, other);
        }
      });

      it('reads no SPIFFE ID where another field of a certificate has it', async () => {
        const { ask, ca } = running;
        for (const { name, ...credentials } of await makeDisguises(ca, webId, otherId)) {
          await assert.rejects(ask(credentials, ca.pem), refusal, name);
        }
      });
    }

    if (requestWithoutPassword) {
      it('lets no workload of the trust domain in without a password', async () => {
        const { ask, ca } = running;
        const asked = ask(await credentialsFor(webId, ca), ca.pem, requestWithoutPassword);
        await assert.rejects(asked, /NOAUTH/);
      });
    }

    it('refuses every certificate that is no X509-SVID of the trust domain', async () => {
      const { ask, ca } = running;
      const world = { ...(await makeWorld()), ca };
      for (const { name, make, expected, acceptedBy } of peerCases) {
        const credentials = await make(world);
        if ('id' in expected && expected.id === webId) {
          assert.match((await ask(credentials, ca.pem)).trim(), answer, name);
        } else if (refusal || !acceptedBy?.includes('OpenSSL')) {
          await assert.rejects(ask(credentials, ca.pem), `accepted: ${name}`);
        }
      }
    });

    it('takes new certificates and new roots without a failed request', async () => {
      const { ask, askInLoop, renewClient, renewServer, ca } = running;
      const next = await makeCa({ subject: 'O=example.org, CN=next' });
      const both = ca.pem + next.pem;
      const loop = askInLoop();
      const furtherRequests = () => {
        const before = loop.count();
        return waitFor('further requests', () => loop.count() > before + 5);
      };
      const isLetIn = (signing: typeof ca, roots: string) => async () => {
        await ask(await credentialsFor(webId, signing), roots);
        return true;
      };
      // The steps of a CA rotation: all know both roots, then use certificates of the next, then forget the old one.
      renewServer(await credentialsFor(example.serverId, ca), both);
      renewClient(await credentialsFor(webId, ca), both);
      await waitFor('a client of the next root to be let in', isLetIn(next, both));
      await furtherRequests();
      renewClient(await credentialsFor(webId, next), both);
      renewServer(await credentialsFor(example.serverId, next), both);
      await waitFor('a server certificate of the next root', isLetIn(next, next.pem));
      await furtherRequests();
      renewServer(await credentialsFor(example.serverId, next), next.pem);
      await waitFor('a client of the old root to be refused', () =>
        isLetIn(ca, next.pem)().then(
          () => false,
          () => true,
        ),
      );
      await furtherRequests();
      const answers = await loop.stop();
      assert.deepEqual(
        answers.filter((answer) => !example.answer.test(answer)),
        [],
      );
    });
  });
}
