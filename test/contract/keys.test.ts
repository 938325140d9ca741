import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { waitFor } from '../cluster/process.ts';
import { openPrograms } from '../cluster/programs.ts';
import { makeStateFolder, removeStateFolder } from '../cluster/state-folder.ts';
import { makeSoftHsm, type SoftHsm } from '../keys/soft-hsm.ts';
import { run } from '../tools/run.ts';
import { unpackImage } from './image-root.ts';
import { createDeployment, installSigner } from './installation.ts';
import { type PageCommands, runCommands } from './page-commands.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';
import { answerTo, createPod, read, requestFor } from './workloads.ts';

const checkout = join(import.meta.dirname, '../..');
const secret = '/api/v1/namespaces/kubespiffe/secrets/kubespiffe-pool';

/** The files that a program or library loads, by ldd(1). */
function librariesOf(path: string): string[] {
  const { stdout } = spawnSync('ldd', [path], { encoding: 'utf8' });
  return [...stdout.matchAll(/=> (\/\S+)/g)].flatMap(([, library]) => library ?? []);
}

/** Made by the commands, used by a signer, and lost and found again: all of it on a real API server. */
describe('CAs with keys in a PKCS#11 token', () => {
  let controlPlane: ControlPlane;
  let hsm: SoftHsm;
  let signer: SignerProcess;
  let env: Record<string, string>;
  let pageEnv: Record<string, string>;

  before(async () => {
    hsm = makeSoftHsm();
    for (const [label, id] of [
      ['ca-2', '02'],
      ['ca-4', '04'],
    ] as const) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      hsm.put(label, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), id);
    }
    const { SOFTHSM2_CONF = '', MOODY_MODULE = '' } = process.env;
    env = { SOFTHSM2_CONF, MOODY_MODULE };
    controlPlane = await startControlPlane();
    const { PATH, write } = await openPrograms(controlPlane, join(hsm.folder, 'path'));
    // It asks for the PIN at a terminal, and there is none.
    await write('pkcs11-tool', `exec /usr/bin/pkcs11-tool "$@" --pin ${hsm.pin}`);
    pageEnv = { ...env, PATH, KUBECONFIG: controlPlane.kubeconfig };
  });
  after(async () => {
    await controlPlane?.stop();
    hsm?.remove();
  });

  const ca = (verb: string, ...more: string[]) =>
    run(['ca', verb, '--kubeconfig', controlPlane.kubeconfig, ...more], { env });
  const keyOf = (label: string) => [
    ...['--key-ref', `pkcs11:token=kubespiffe;object=${label}`],
    ...['--pkcs11-module', hsm.module, '--pkcs11-pin-file', hsm.pinFile],
  ];

  async function pool() {
    const { data = {} } = (await controlPlane.request('GET', secret)).body as {
      data?: Record<string, string>;
    };
    const found = readPoolDocument(Buffer.from(data['pool.json'] ?? '', 'base64').toString());
    assert.ok(found.ok);
    return found.document;
  }

  const here = (code: string) => code.replaceAll('/usr/lib/libvendor-pkcs11.so', hsm.module);
  const follow = (commands: Omit<PageCommands, 'page'>, cwd = hsm.folder) =>
    runCommands({ page: 'docs/guides/keys.md', ...commands }, { env: pageEnv, here, cwd });

  const x509Authorities = async () => (await pool()).authorities.filter(({ kind }) => kind === 'X509');

  it('a CA made by pkcs11-tool and `ca create --key-ref` signs for pods, and has no private key in the pool', async () => {
    const kubeconfig = await installSigner(controlPlane);
    await follow({ heading: 'What the image needs', prints: /^/ }, checkout);
    await follow({ heading: 'PKCS#11', prints: /Key pair generated[\s\S]+ca-1/ });
    await follow({ heading: 'PKCS#11', block: 1, prints: /authority ca-1: active/ });
    const [authority] = await x509Authorities();
    assert.ok(authority);
    assert.deepEqual(
      [authority.keyRef, authority.privateKey],
      ['pkcs11:token=kubespiffe;object=ca-1', undefined],
    );

    const flags = [
      '--key-backends',
      'pkcs11',
      '--pkcs11-module',
      hsm.module,
      '--pkcs11-pin-file',
      hsm.pinFile,
    ];
    signer = await startSigner({ kubeconfig, flags });
    await signer.ready();
    const { certificateChain } = await answerTo(
      controlPlane,
      await requestFor(controlPlane, await createPod(controlPlane)),
    );
    const leaf = new X509Certificate(certificateChain ?? '');
    assert.equal(leaf.subjectAltName, 'URI:spiffe://example.org/ns/default/sa/default');
    assert.ok(leaf.verify(new X509Certificate(authority.certificate ?? '').publicKey));
  });

  it('requests wait while the PKCS#11 token is removed, with the reason on the pod, and are answered when it is back', async () => {
    hsm.setMood('removed');
    const pod = await createPod(controlPlane);
    const request = await requestFor(controlPlane, pod);
    await waitFor('the Event', async () => {
      const answer = await controlPlane.request('GET', '/apis/events.k8s.io/v1/namespaces/default/events');
      const { items } = answer.body as {
        items: { reason: string; note: string; regarding: { uid: string } }[];
      };
      const event = items.find(({ regarding }) => regarding.uid === pod.metadata.uid);
      if (event) assert.equal(event.reason, 'KeyUnavailable');
      return event;
    });
    await waitFor('readiness to say why', async () => {
      const { ok, text } = await signer.readiness();
      return !ok && /\[-\]spiffe\/pool .*keyRef/.test(text) && /CKR_DEVICE_REMOVED/.test(text);
    });
    assert.equal((await read(controlPlane, request)).status?.conditions?.length ?? 0, 0);
    hsm.setMood('well');
    const { certificateChain } = await answerTo(controlPlane, request);
    assert.ok(certificateChain);
    await signer.ready();
  });

  it('a CA with its key in a token is not followed by one with its key in the pool, unless an option says so', async () => {
    const refused = await ca('prepare');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /kept outside of the pool \(pkcs11:.*--key-ref/s);
    const missing = await ca('prepare', ...keyOf('ca-3'));
    assert.match(missing.stderr, /no private key with object=ca-3/);
    const prepared = await ca('prepare', ...keyOf('ca-2'));
    assert.equal(prepared.code, 0, prepared.stderr);
    assert.deepEqual(
      (await x509Authorities()).map(({ id, state, keyRef }) => [id, state, keyRef]),
      [
        ['ca-1', 'active', 'pkcs11:token=kubespiffe;object=ca-1'],
        ['ca-2', 'prepared', 'pkcs11:token=kubespiffe;object=ca-2'],
      ],
    );
  });

  it('a CA with its key in a token is verified in preview by a test certificate that the token signs', async () => {
    const preview = await ca('preview', 'ca-2');
    assert.equal(preview.code, 0, preview.stderr);
    const job = await ca(
      'verify-preview',
      'ca-2',
      '--image',
      'none',
      '-o',
      'json',
      ...keyOf('ca-2').slice(2),
    );
    assert.equal(job.code, 0, job.stderr);
    const [pem = ''] =
      /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(
        job.stdout.replaceAll('\\n', '\n'),
      ) ?? [];
    const record = (await pool()).authorities.find(({ id }) => id === 'ca-2');
    const issuer = new X509Certificate(record?.certificate ?? '');
    assert.ok(new X509Certificate(pem).verify(issuer.publicKey));
    const without = await ca('verify-preview', 'ca-2', '--image', 'none', '-o', 'json');
    assert.match(without.stderr, /pkcs11:token=kubespiffe;object=ca-2: the setting pkcs11Module is not set/);
  });

  it('a CA with its key in a token is followed by another one in the same place, as the guide says', async () => {
    await ca('remove', 'ca-2', '--force', '--reason', 'only a test');
    // The commands read from the Deployment how long the signers let a root be published first.
    await createDeployment(controlPlane, ['--root-propagation-delay', '1s']);
    await follow({ heading: 'The next key', prints: /ca-2[\s\S]+active/ });
    assert.deepEqual(
      (await x509Authorities()).map(({ id, state }) => [id, state]),
      [
        ['ca-1', 'retiring'],
        ['ca-2', 'active'],
      ],
    );
  });

  it('a CA with its key in a token comes below an offline root by `ca csr --key-ref`, and signs for pods', async () => {
    const root = ['--cert', join(hsm.folder, 'root.pem'), '--key', join(hsm.folder, 'root.key')];
    const made = await run(['ca', 'root', '--trust-domain', 'example.org', ...root]);
    assert.equal(made.code, 0, made.stderr);
    const asked = await ca('csr', '--ca-id', 'ca-4', ...keyOf('ca-4'));
    assert.equal(asked.code, 0, asked.stderr);
    const [csr, issuing] = [join(hsm.folder, 'ca-4.csr'), join(hsm.folder, 'ca-4.pem')] as const;
    await writeFile(csr, asked.stdout);
    const signed = await run(['ca', 'sign', csr, ...root]);
    assert.equal(signed.code, 0, signed.stderr);
    await writeFile(issuing, signed.stdout);
    const imported = await ca('import', '--request', 'ca-4', '--cert', issuing);
    assert.equal(imported.code, 0, imported.stderr);
    const record = (await pool()).authorities.find(({ id }) => id === 'ca-4');
    assert.deepEqual(
      [record?.state, record?.keyRef, record?.privateKey, record?.intermediates?.length],
      ['prepared', 'pkcs11:token=kubespiffe;object=ca-4', undefined, 1],
    );
    await ca('trust', 'ca-4');
    await waitFor('it to be active', async () => {
      return (await ca('activate', 'ca-4', '--propagation-delay', '0s')).code === 0;
    });
    await waitFor('a certificate of it', async () => {
      const request = await requestFor(controlPlane, await createPod(controlPlane));
      const { certificateChain = '' } = await answerTo(controlPlane, request);
      const [leaf, issuer] = certificateChain
        .split(/(?<=-----END CERTIFICATE-----\n)/)
        .map((pem) => new X509Certificate(pem));
      return issuer && leaf?.verify(issuer.publicKey);
    });
  });

  it('a CA with its key in a token signs in the image, once key-backends and the module are in it as the guide says', async (t) => {
    const folder = await makeStateFolder();
    const image = await unpackImage(folder);
    await image.add(join(checkout, 'key-backends/package.json'), '/app/key-backends/package.json');
    await image.add(join(checkout, 'key-backends/node_modules'), '/app/key-backends/node_modules');
    const module = '/usr/lib/softhsm/libsofthsm2.so';
    for (const file of [module, ...librariesOf(module), hsm.folder]) await image.add(file);
    const kubeconfig = await controlPlane.kubeconfigFor({
      ...{ namespace: 'kubespiffe', name: 'kubespiffe-signer' },
    });
    const [, token = ''] = /tokenFile"?: ?"?([^\s",}]+)/.exec(await readFile(kubeconfig, 'utf8')) ?? [];
    for (const file of [kubeconfig, token]) await image.add(file);
    await signer.child.stop();
    const inImage = await startSigner({
      ...{ kubeconfig, replica: 'signer-image', launcher: image.launcher(env) },
      flags: ['--key-backends', 'pkcs11', '--pkcs11-module', module, '--pkcs11-pin-file', hsm.pinFile],
    });
    t.after(async () => {
      await inImage.child.stop();
      await removeStateFolder(folder);
    });
    await inImage.ready();
    const request = await requestFor(controlPlane, await createPod(controlPlane));
    assert.ok((await answerTo(controlPlane, request)).certificateChain);
  });
});
