import 'reflect-metadata';
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import type { Pod } from '../../signer/kube/types.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { decodePem } from '../../spiffe/pki/pem.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { type Judges, openJudges } from '../judges/judges.ts';
import { makeCa } from '../spiffe/pki/authorities.ts';
import { claimsOf, headerOf, signed } from '../token/caller/bad-tokens.ts';
import { launcher, run } from '../tools/run.ts';
import {
  factsOf,
  installTokenEndpoint,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
  x509Audience,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

/** The shell of manifests/examples/x509-svid.yaml, run as it stands there against a real endpoint. */
describe('the example that keeps a certificate with openssl and curl', () => {
  let controlPlane: ControlPlane;
  let endpoint: TokenSigner;
  let judges: Judges;
  let roots: string;
  let pod: Pod;
  const started: ChildProcess[] = [];
  const folders: string[] = [];

  before(async () => {
    judges = await openJudges();
    controlPlane = await startControlPlane();
    const installed = await installTokenEndpoint(controlPlane);
    endpoint = await startTokenSigner(installed, { flags: ['--x509-svid', 'true'] });
    await endpoint.signer.ready();
    roots = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []).join('');
    pod = await createPod(controlPlane);
  });
  after(async () => {
    for (const { pid, exitCode } of started) {
      if (pid !== undefined && exitCode === null) process.kill(-pid, 'SIGKILL');
    }
    for (const folder of folders) rmSync(folder, { recursive: true });
    endpoint?.agent.destroy();
    await controlPlane?.stop();
  });

  /** Starts it with these files in its volumes. */
  function start(files: { token: string; roots: string }) {
    const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-x509-example-'));
    folders.push(folder);
    const svid = join(folder, 'svid');
    mkdirSync(svid);
    const put = (name: string, content: string) => writeFileSync(join(folder, name), content);
    put('token', files.token);
    put('roots.pem', files.roots);
    const example = parse(readFileSync(join(checkout, 'manifests/examples/x509-svid.yaml'), 'utf8'));
    const [program, ...args] = (example.spec.containers[0].command as string[]).map((word) =>
      word
        .replaceAll('/run/svid', svid)
        .replaceAll('/run/spiffe', folder)
        .replaceAll('https://kubespiffe-tokens.kubespiffe.svc', `https://localhost:${endpoint.port}`),
    );
    assert.ok(program);
    // A group of its own, so that its sleep ends with it.
    const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    started.push(child);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
    return {
      svid,
      put,
      said: () => said,
      read: (name: string) => {
        const path = join(svid, name);
        return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
      },
    };
  }

  const leafOf = (credentials: string) => {
    const blocks = decodePem(credentials, { strict: true });
    assert.ok(blocks.ok);
    assert.deepEqual(
      blocks.value.map(({ label }) => label),
      ['PRIVATE KEY', 'CERTIFICATE'],
    );
    const leaf = readCertificate(blocks.value[1]?.der ?? new Uint8Array());
    assert.ok(leaf.ok);
    return leaf.value;
  };

  it('the example with openssl and curl reports problems, gets a certificate, and renews it at half its lifetime', async () => {
    const facts = await factsOf(controlPlane, pod);
    const example = start({ token: await tokenFor(controlPlane, pod), roots });
    await waitFor('the refusal', async () => example.said().includes('"reason":"AudienceWrong"'));
    assert.equal(example.read('credentials.pem'), undefined);

    // As kubelet does: the file has a good token now, which does not last long.
    const now = Math.floor(Date.now() / 1000);
    const ending = claimsOf(facts, { aud: [x509Audience], exp: now + 50 });
    example.put('token', signed(facts.key, headerOf(facts), ending));
    const first = await waitFor('the certificate', async () => example.read('credentials.pem'));
    const leaf = leafOf(first);
    assert.equal(leaf.notAfter, now + 50);
    assert.equal(example.read('roots.pem'), roots);
    const [key = '', ...chain] = first.split(/(?=-----BEGIN CERTIFICATE)/);
    const verdict = await judges.x509Svid({
      chain: chain.join(''),
      bundles: { 'example.org': example.read('roots.pem') ?? '' },
      key,
    });
    assert.deepEqual(verdict.errors, []);
    assert.equal(verdict.facts.id, 'spiffe://example.org/ns/default/sa/default');

    example.put(
      'token',
      await tokenFor(controlPlane, pod, { audiences: [x509Audience], expirationSeconds: 7200 }),
    );
    const second = await waitFor('the next certificate', async () => {
      const credentials = example.read('credentials.pem') ?? '';
      return credentials !== first && credentials;
    });
    const renewed = leafOf(second);
    assert.ok(Date.now() / 1000 < leaf.notAfter, 'the first one ended before');
    assert.ok(renewed.notAfter > now + 3000);
    assert.notDeepEqual(renewed.spki, leaf.spki);
    assert.deepEqual(renewed.uris, leaf.uris);
    for (const name of readdirSync(example.svid)) {
      assert.equal(statSync(join(example.svid, name)).mode & 0o077, 0, name);
    }
    assert.doesNotMatch(example.said(), /PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\./);
  });

  it('the example with openssl and curl can be done by hand, as in the guide', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-x509-guide-'));
    folders.push(folder);
    mkdirSync(join(folder, 'svid'));
    writeFileSync(join(folder, 'roots.pem'), roots);
    const token = await tokenFor(controlPlane, pod, { audiences: [x509Audience] });
    for (const name of ['token', 'x509-token']) writeFileSync(join(folder, name), token);
    const page = await readPage('docs/guides/x509-without-pod-certificates.md');
    const reference = await readPage('docs/reference/token-endpoint.md');
    const shell = [...blocksBelow(page, 'By hand'), ...blocksBelow(reference, 'Getting an X509-SVID')];
    const codes = shell
      .filter(({ language }) => language === 'sh')
      .map(({ code }) =>
        code
          .replaceAll('/run/svid', join(folder, 'svid'))
          .replaceAll('/run/spiffe', folder)
          .replaceAll('https://kubespiffe-tokens.kubespiffe.svc', `https://localhost:${endpoint.port}`)
          .replaceAll(/^kubespiffe /gm, `${launcher} `),
      );
    const [steps, command, curl] = codes;
    for (const [code, said] of [
      [steps, /URI:spiffe:\/\/example\.org\/ns\/default\/sa\/default/],
      [command, /^SPIFFE ID {3}spiffe:\/\/example\.org\/ns\/default\/sa\/default\n/],
      [curl, /^-----BEGIN CERTIFICATE-----$/m],
    ] as const) {
      const ran = await run(['-euc', code ?? 'false'], { file: 'sh', cwd: folder });
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stdout, said);
    }
    assert.match(readFileSync(join(folder, 'svid/headers'), 'utf8'), /^kubespiffe-chain-length: 1\r$/m);
  });

  it('the example with openssl and curl gives its token only to an endpoint that its roots verify', async () => {
    const refused = () => endpoint.signer.metric('kubespiffe_x509_svids_total');
    const before = await refused();
    const token = await tokenFor(controlPlane, pod, { audiences: [x509Audience] });
    const example = start({ token, roots: (await makeCa()).pem });
    await waitFor('the refusal', async () => /SSL certificate problem/.test(example.said()));
    assert.equal(example.read('credentials.pem'), undefined);
    assert.equal(await refused(), before);
  });
});
