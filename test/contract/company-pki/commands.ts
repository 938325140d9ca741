import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { openPrograms } from '../../cluster/programs.ts';
import { run } from '../../tools/run.ts';
import { webCredentials } from '../bundle-endpoint.ts';
import { runCommands } from '../page-commands.ts';

const page = 'docs/guides/company-pki.md';
const heading = 'With cert-manager or Vault';

/** A cluster, and the folder with root.pem and root.key of the company. */
interface Place {
  readonly controlPlane: ControlPlane;
  readonly folder: string;
}

async function environmentOf({ controlPlane, folder }: Place): Promise<Record<string, string>> {
  const { PATH } = await openPrograms(controlPlane, join(folder, 'path'));
  return { PATH, KUBECONFIG: controlPlane.kubeconfig };
}

/** Runs the commands that let an issuer of cert-manager and Vault sign a CA. The caller plays cert-manager meanwhile. */
export async function prepareByPage(place: Place): Promise<string> {
  const vault = await playVault(place.folder);
  try {
    const env = { ...(await environmentOf(place)), NODE_EXTRA_CA_CERTS: vault.roots };
    const here = (code: string) =>
      code.replace('VAULT_TOKEN=…', 'VAULT_TOKEN=hvs.token').replace('https://vault.example.com', vault.url);
    const output = await runCommands(
      { page, heading, prints: /prepared[\s\S]+prepared/ },
      { env, here, cwd: place.folder },
    );
    assert.deepEqual(vault.asked, ['/v1/pki/root/sign-intermediate hvs.token']);
    return output;
  } finally {
    vault.close();
  }
}

/** Grants the signer the right to ask the issuer, as the page says. */
export async function grantByPage(place: Place): Promise<void> {
  const env = await environmentOf(place);
  await runCommands({ page, heading, block: 1, prints: /role\S* created/ }, { env, cwd: place.folder });
}

/** What a Vault answers to root/sign-intermediate (its HTTP API, PKI secrets engine). */
async function playVault(folder: string) {
  const { key, cert } = await webCredentials({ address: 'localhost' });
  const roots = join(folder, 'vault.pem');
  await writeFile(roots, cert);
  const asked: string[] = [];
  const server = createServer({ key, cert }, async (request, response) => {
    asked.push(`${request.url} ${request.headers['x-vault-token']}`);
    const csr = join(folder, 'vault.csr');
    await writeFile(csr, JSON.parse(await text(request)).csr);
    const root = ['--cert', join(folder, 'root.pem'), '--key', join(folder, 'root.key')];
    const { stdout } = await run(['ca', 'sign', csr, ...root, '--lifetime', '720h']);
    const [certificate] = stdout.split(/(?<=-----END CERTIFICATE-----\n)/);
    const issuing_ca = await readFile(join(folder, 'root.pem'), 'utf8');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ data: { certificate, issuing_ca, ca_chain: [issuing_ca] } }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  return { url, roots, asked, close: () => server.close() };
}
