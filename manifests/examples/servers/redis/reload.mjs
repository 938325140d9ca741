// Lets Redis read its certificate, key and roots again. CONFIG SET reads files even where their names stay the same.
import { readFileSync } from 'node:fs';
import { createConnection } from 'node:net';

const password = readFileSync('/run/redis-users/helper-password', 'utf8').trim();
const commands = [
  ['AUTH', 'helper', password],
  [
    ...['CONFIG', 'SET', 'tls-cert-file', '/run/tls/tls.crt', 'tls-key-file', '/run/tls/tls.key'],
    ...['tls-ca-cert-file', '/run/tls/ca.crt'],
  ],
  ['QUIT'],
];

const socket = createConnection('/run/redis/redis.sock').setEncoding('utf8').setTimeout(5_000);
socket.on('timeout', () => socket.destroy(new Error('Redis did not answer within 5 s')));
for (const words of commands) {
  const encoded = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  socket.write(`*${words.length}\r\n${encoded.join('')}`);
}
let answers = '';
for await (const text of socket) answers += text;
if (answers !== '+OK\r\n'.repeat(commands.length))
  throw new Error(`Redis answered ${JSON.stringify(answers)}`);
