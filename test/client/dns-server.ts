import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';

/** What a name server does with a question: an address, `unknown` (NXDOMAIN), `fails` (SERVFAIL), or no answer at all. */
export type DnsAnswer = `${number}.${number}.${number}.${number}` | 'unknown' | 'fails' | 'silent';

/** A name server (RFC 1035) over UDP that answers as it is told to, with A records alone. */
export async function startDnsServer(answerTo: (name: string) => DnsAnswer) {
  const socket = createSocket('udp4');
  const asked: string[] = [];
  socket.on('message', (question, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    while (question[at]) {
      const end = at + 1 + Number(question[at]);
      labels.push(question.toString('latin1', at + 1, end));
      at = end;
    }
    const name = labels.join('.');
    const isForA = question.readUInt16BE(at + 1) === 1;
    asked.push(name);
    const answer = answerTo(name);
    if (answer === 'silent') return;
    const code = { unknown: 3, fails: 2 }[answer as string] ?? 0;
    const bytes = code === 0 && isForA ? Buffer.from(answer.split('.').map(Number)) : undefined;
    const header = Buffer.from(question.subarray(0, 12));
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(bytes ? 1 : 0, 6);
    header.writeUInt32BE(0, 8);
    const record = bytes ? [Buffer.from('c00c00010001000000000004', 'hex'), bytes] : [];
    socket.send(Buffer.concat([header, question.subarray(12, at + 5), ...record]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return {
    asked,
    /** A resolver that asks this server. */
    resolver(limits = { timeout: 4_000, tries: 2 }): Resolver {
      const resolver = new Resolver(limits);
      resolver.setServers([`127.0.0.1:${socket.address().port}`]);
      return resolver;
    },
    close: () => socket.close(),
  };
}
