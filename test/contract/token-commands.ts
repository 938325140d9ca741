import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import { openPrograms } from '../cluster/programs.ts';
import { of, type PageCommands, runCommands } from './page-commands.ts';
import { type TokenSigner, tokenFor, x509Audience } from './token-endpoint.ts';
import { create, createPod, issuedTo } from './workloads.ts';

const cli = of('reference/cli.md');
const endpointPage = of('reference/token-endpoint.md');

/** In a pod with its certificate and tokens, at a token endpoint that also serves its bundle. Each goes on where the one before ended. */
export const tokenCommands: readonly PageCommands[] = [
  of('guides/tokens.md')('Get it with the certificate of the pod', /"token_type":"Bearer"/),
  endpointPage('With a certificate in place of a token', /"token_type":"Bearer"/),
  endpointPage('Bundle endpoints', /"spiffe_sequence"/),
  cli('kubespiffe bundle fetch', /"spiffe_sequence"[\s\S]+"spiffe_sequence"/),
  cli('kubespiffe bundle verify', /^Result: conforms/m),
  cli('kubespiffe token', /^SPIFFE ID[\s\S]+ns\/default\/sa\/default/m),
  cli(
    'kubespiffe workload-api',
    /^serving the Workload API of spiffe:\/\/example\.org\/ns\/default\/sa\/default at /m,
  ),
  cli('kubespiffe ui', /^http:\/\/127\.0\.0\.1:\d+\//m, { block: 1 }),
];

/** The token endpoint, and the port at which the same signer serves its bundle by https_spiffe. */
interface Place {
  readonly controlPlane: ControlPlane;
  readonly endpoint: TokenSigner;
  readonly bundlePort: number;
}

/** Defines the tests of these commands. Names of hosts and paths of the pod are replaced. */
export function describeTokenCommands(at: () => Place): void {
  describe('the commands of the pages', () => {
    let folder: string;
    let env: Record<string, string>;
    let here: (code: string) => string;

    before(async () => {
      const { controlPlane, endpoint, bundlePort } = at();
      folder = await mkdtemp(join(tmpdir(), 'kubespiffe-commands-'));
      // Pods of a node that does not exist are deleted after a while.
      await create(controlPlane, '/api/v1/nodes', { metadata: { name: 'node-1' } });
      const pod = await createPod(controlPlane);
      const { key, cert } = await issuedTo(controlPlane, pod);
      const file = (name: string, content: string) => writeFile(join(folder, name), content, { mode: 0o600 });
      await file('credentials.pem', key + cert);
      await file(
        'roots.pem',
        endpoint.pool.authorities.flatMap(({ certificate }) => certificate ?? []).join(''),
      );
      await file('token', await tokenFor(controlPlane, pod));
      await file('x509-token', await tokenFor(controlPlane, pod, { audiences: [x509Audience] }));
      await file('bundle.json', (await endpoint.call({ path: '/bundle' })).text);
      await copyFile(join(folder, 'bundle.json'), join(folder, 'known.json'));
      const { PATH } = await openPrograms(controlPlane, join(folder, 'path'));
      // The roots of the trust domain stand for those of the web, which the machine has.
      const roots = join(folder, 'roots.pem');
      env = { PATH, NODE_EXTRA_CA_CERTS: roots, CURL_CA_BUNDLE: roots };
      const [uiPort] = await freePorts(1);
      here = (code) =>
        code
          .replaceAll('kubespiffe-tokens.kubespiffe.svc', `localhost:${endpoint.port}`)
          .replaceAll(/(spiffe|bundle)\.example\.org\//g, `localhost:${endpoint.port}/`)
          .replaceAll('10.0.0.7:8443', `127.0.0.1:${bundlePort}`)
          .replaceAll(/\/run\/(spiffe|workload-api)\b/g, folder)
          .replaceAll('/run/svid', join(folder, 'svid'))
          .replaceAll('8090', `${uiPort}`);
    });
    after(() => rm(folder, { recursive: true, force: true }));

    for (const commands of tokenCommands) {
      const { page, heading, block = 0 } = commands;
      it(`the commands of ${page} work, ${heading}, block ${block}`, async () => {
        await runCommands(commands, { env, here, cwd: folder });
      });
    }

    it('the commands of the pages leave the certificate and its key in their folder', async () => {
      const credentials = await readFile(join(folder, 'svid/credentials.pem'), 'utf8');
      assert.match(credentials, /PRIVATE KEY[\s\S]+BEGIN CERTIFICATE/);
    });
  });
}
