import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { decodeProtectedHeader } from 'jose';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { openPrograms } from '../../cluster/programs.ts';
import { blocksBelow, readPage } from '../../docs/markdown.ts';
import { writeStandIns } from '../../docs/programs/stand-in.ts';
import { type Ran, run } from '../../tools/run.ts';
import { type ServerCredentials, webCredentials } from '../bundle-endpoint.ts';
import { jwtIssuer, type TokenSigner, tokenFor } from '../token-endpoint.ts';
import { createPod } from '../workloads.ts';

const spiffeId = 'spiffe://example.org/ns/default/sa/default';
const claimsIn = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());

/**
 * Defines the tests of the scripts in the guides to clouds, which run as they stand at a real endpoint. Stand-ins for the programs
 * of the clouds take the documented arguments only, keep what they get, and print what they are given here.
 */
export function describeScripts(at: () => { controlPlane: ControlPlane; endpoint: TokenSigner }): void {
  describe('the scripts of the guides', () => {
    let folder: string;
    let path: string;
    let entra: Awaited<ReturnType<typeof playEntra>>;
    before(async () => {
      const { controlPlane, endpoint } = at();
      folder = await mkdtemp(join(tmpdir(), 'kubespiffe-clouds-'));
      const roots = endpoint.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
      await writeFile(join(folder, 'roots.pem'), roots.join(''));
      await writeFile(join(folder, 'token'), await tokenFor(controlPlane, await createPod(controlPlane)));
      ({ PATH: path } = await openPrograms(controlPlane, join(folder, 'path')));
      const login = 'login.microsoftonline.com';
      const credentials = await webCredentials({ address: login });
      entra = await playEntra(credentials);
      await writeFile(join(folder, 'public.pem'), roots.join('') + credentials.cert);
      // For curl, the public names are here, and their certificates are those of public CAs.
      const names = [
        [new URL(jwtIssuer).host, endpoint.port],
        [login, entra.port],
      ].map(([host, port]) => `connect-to = "${host}:443:localhost:${port}"\n`);
      await writeFile(join(folder, '.curlrc'), `cacert = "${join(folder, 'public.pem')}"\n${names.join('')}`);
    });
    after(async () => {
      entra?.close();
      await rm(folder, { recursive: true, force: true });
    });

    /** A cluster has the Service and the volume at these places; here they are elsewhere. */
    const here = (code: string) =>
      code
        .replaceAll('https://kubespiffe-tokens.kubespiffe.svc', `https://localhost:${at().endpoint.port}`)
        .replaceAll('/run/spiffe', folder)
        .replaceAll('https://identity.example.org', jwtIssuer);

    const kept = async (name: string) => readFile(join(folder, name), 'utf8');

    interface Wishes {
      /** Stand-ins, and what each does with what it gets. */
      readonly programs?: Record<string, string>;
      readonly args?: readonly string[];
      readonly env?: Record<string, string>;
    }
    /** Runs the first block below a heading that has this text. */
    async function follow(page: string, heading: string, has: string, wishes: Wishes = {}): Promise<Ran> {
      const { programs = {}, args = [], env = {} } = wishes;
      const block = blocksBelow(await readPage(page), heading).find(({ code }) => code.includes(has));
      const file = join(folder, 'script.sh');
      await writeFile(file, here(block?.code ?? assert.fail(page)));
      await writeStandIns(join(folder, 'path'), programs, join(folder, 'calls'));
      const ran = await run([file, ...args], {
        ...{ file: 'sh', cwd: folder, env: { PATH: path, KEEP: folder, CURL_HOME: folder, ...env } },
      });
      assert.equal(ran.code, 0, ran.stderr);
      return ran;
    }

    it('the script for Google Cloud prints what its SDKs read', async () => {
      const provider =
        '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pods/providers/x';
      const args = [`https:${provider}`];
      const ran = await follow('docs/guides/google-cloud.md', 'In the pod', 'set -eu', { args });
      const printed = JSON.parse(ran.stdout);
      assert.deepEqual([printed.version, printed.success], [1, true]);
      const claims = claimsIn(printed.id_token);
      assert.deepEqual(
        [claims.sub, claims.aud, claims.exp],
        [spiffeId, `https:${provider}`, printed.expiration_time],
      );
    });

    it('the script for Google Cloud uploads the keys, with the members that it takes', async () => {
      const programs = { gcloud: '' };
      await follow('docs/guides/google-cloud.md', 'An issuer that is not public', 'gcloud', { programs });
      assert.match(await kept('calls'), /"update-oidc","kubespiffe",.*"--jwk-json-path=keys\.json"/);
      const members = JSON.parse(await kept('keys.json')).keys.flatMap((key: object) => Object.keys(key));
      const allowed = ['kty', 'alg', 'use', 'kid', 'crv', 'x', 'y', 'n', 'e'];
      assert.deepEqual([...new Set<string>(members)].sort(), allowed.sort());
    });

    it('the script for AWS hands over the token by standard input', async () => {
      const answer = JSON.stringify({ Credentials: { AccessKeyId: 'id', SessionToken: 'session' } });
      const aws = `printf '%s\\n' "$*" >"$KEEP/arguments"; cat >"$KEEP/svid"; echo '${answer}'`;
      const ran = await follow('docs/guides/aws.md', 'In the pod', 'set -eu', {
        ...{ programs: { aws }, args: ['arn:aws:iam::1:role/web'] },
      });
      assert.deepEqual(JSON.parse(ran.stdout), { AccessKeyId: 'id', SessionToken: 'session', Version: 1 });
      assert.match(
        await kept('arguments'),
        /^sts assume-role-with-web-identity --role-arn arn:aws:iam::1:role\/web /,
      );
      assert.deepEqual(claimsIn(await kept('svid')).aud, 'sts.amazonaws.com');
    });

    it('the script for Vault hands over the token by standard input', async () => {
      const vault = 'cat >"$KEEP/svid"; echo hvs.token';
      const ran = await follow('docs/guides/vault.md', 'In the pod', 'set -eu', { programs: { vault } });
      assert.equal(ran.stdout, 'hvs.token\n');
      assert.equal(claimsIn(await kept('svid')).aud, 'https://vault.example.com');
    });

    it('the script for Azure posts the token as the assertion of the client, and prints the answer', async () => {
      const env = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client' };
      const { stdout } = await follow('docs/guides/azure.md', 'In the pod', 'set -eu', { env });
      assert.equal(JSON.parse(stdout).access_token, 'of-entra');
      assert.equal(entra.asked.length, 1);
      const [{ url, form: { client_assertion: assertion = '', ...form } = {} } = {}] = entra.asked;
      assert.equal(url, '/tenant/oauth2/v2.0/token');
      assert.deepEqual(form, {
        grant_type: 'client_credentials',
        client_id: 'client',
        scope: 'https://storage.azure.com/.default',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      });
      const { sub, aud } = claimsIn(assertion);
      assert.deepEqual([sub, aud], [spiffeId, 'api://AzureADTokenExchange']);
      assert.equal(decodeProtectedHeader(assertion).alg, 'RS256');
    });

    it('the script for a bucket copies the documents of the issuer', async () => {
      const aws = 'for last; do :; done; cp "$7" "$KEEP/$(basename "$last")"';
      await follow('docs/guides/public-issuer.md', 'Copies in a bucket', 'set -eu', { programs: { aws } });
      assert.equal(JSON.parse(await kept('openid-configuration')).issuer, jwtIssuer);
      assert.ok(JSON.parse(await kept('keys')).keys.length > 0);
    });

    it('the script for the public issuer shows that it works', async () => {
      const { stdout } = await follow('docs/guides/public-issuer.md', 'See that it works', 'curl');
      const [isIssuer, ...keys] = stdout.split(/\n(?=\{)/);
      assert.equal(isIssuer, 'true');
      assert.deepEqual(keys.map((each) => JSON.parse(each).alg).sort(), ['ES256', 'RS256']);
    });
  });
}

/** The token endpoint of Entra, which keeps what it is asked. */
async function playEntra({ key, cert }: ServerCredentials) {
  const asked: { url: string | undefined; form: Record<string, string> }[] = [];
  const server = createServer({ key, cert }, async (request, response) => {
    asked.push({ url: request.url, form: Object.fromEntries(new URLSearchParams(await text(request))) });
    response.end('{"token_type":"Bearer","access_token":"of-entra"}');
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return { asked, port: (server.address() as AddressInfo).port, close: () => server.close() };
}
