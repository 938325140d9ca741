import { execFile } from 'node:child_process';

/** Runs `openssl s_client` with one request for it to speak, and reads until the server closes. */
export function openssl(words: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile('openssl', words, (error, stdout) => (error ? reject(error) : resolve(stdout)));
    child.stdin?.write('GET /keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  });
}

/** Whether a server asks its clients for a certificate, as the messages of the handshake show it. */
export async function asksForCertificate(port: number): Promise<boolean> {
  const messages = await openssl(['s_client', '-msg', '-connect', `127.0.0.1:${port}`]);
  if (!/ServerHello/.test(messages)) throw new Error('there was no handshake');
  return /CertificateRequest/.test(messages);
}
