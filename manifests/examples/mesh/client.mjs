// Calls URL until it answers, and prints the answer. It shows its certificate, CREDENTIALS, and verifies the server by
// ROOTS: by its SPIFFE ID if SERVER_ID is set, else by the DNS name in the URL.
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { setTimeout } from 'node:timers/promises';
import { checkServerIdentity } from 'node:tls';

const { URL: url, CREDENTIALS, ROOTS, SERVER_ID } = process.env;

function checkServer(host, certificate) {
  if (!SERVER_ID) return checkServerIdentity(host, certificate);
  const { subjectaltname: server } = certificate;
  // The whole ID: every pod of the trust domain has a certificate under the same roots.
  if (server !== `URI:${SERVER_ID}`) return new Error(`the server is ${server}, not ${SERVER_ID}`);
}

function call() {
  const pem = readFileSync(CREDENTIALS);
  const options = { key: pem, cert: pem, ca: readFileSync(ROOTS), checkServerIdentity: checkServer };
  return new Promise((resolve, reject) => {
    get(url, options, async (response) => {
      const text = (await response.toArray()).join('');
      if (response.statusCode === 200) resolve(text);
      else reject(new Error(`${response.statusCode} ${text}`));
    }).on('error', reject);
  });
}

for (;;) {
  try {
    process.stdout.write(await call());
    break;
  } catch (error) {
    console.error(error.message);
    await setTimeout(1_000);
  }
}
