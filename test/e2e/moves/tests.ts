import 'reflect-metadata';
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before } from 'node:test';
import { parse } from 'yaml';
import type { ControlPlane } from '../../cluster/control-plane.ts';
import { waitFor } from '../../cluster/process.ts';
import { blocksBelow, readPage } from '../../docs/markdown.ts';
import { judgesBinary } from '../../judges/build.ts';
import { makeCa, type TestCa } from '../../spiffe/pki/authorities.ts';
import { credentialsFor } from '../../workload/credentials.ts';
import { trustDomain } from '../installation.ts';
import { follow, inOrder, type ReaderCluster } from '../reader.ts';
import { assertNoneFailed, createPair, image, type Name, names, type Pair, type PodPart } from './pair.ts';

type At = () => ReaderCluster;

/** A volume of files that another program keeps: here a Secret stands for it. */
async function keepFiles(
  { kubectl }: ControlPlane,
  namespace: string,
  name: Name,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, stringData: files };
  await kubectl(['apply', '-f', '-'], { input: JSON.stringify(secret) });
}

/** How many certificates the pods of both Deployments have in a file. */
async function rootsIn({ kubectl }: ControlPlane, namespace: string, file: string): Promise<number[]> {
  const program = `fs.readFileSync('${file}', 'utf8').split('BEGIN CERT').length - 1`;
  const counts = names.map((name) =>
    kubectl(['exec', '--namespace', namespace, `deployment/${name}`, '--', 'node', '-p', program]),
  );
  return (await Promise.all(counts)).map(Number);
}

/** The page about csi-driver-spiffe, where the old root must sign nothing new, with a program that reads its three files. */
export function itMovesFiles(at: At): void {
  const namespace = 'from-csi';
  const folder = '/var/run/secrets/spiffe.io';
  const oldIssuer = 'csi-driver-spiffe-ca';
  const idOf = (name: Name) => `spiffe://${trustDomain}/ns/${namespace}/sa/${name}`;
  const step = inOrder();
  let pair: Pair;
  let old: TestCa;
  after(() => pair?.clean());

  const mount = { name: 'spiffe', mountPath: folder, readOnly: true };
  const form = { env: { FOLDER: folder }, volumeMounts: [mount] };
  const keep = async (name: Name, roots: string) => {
    const { keyPem, chainPem } = await credentialsFor(idOf(name), old);
    await keepFiles(at().controlPlane, namespace, name, {
      ...{ 'tls.key': keyPem, 'tls.crt': chainPem, 'ca.crt': roots },
    });
  };
  const page = (block: string) => block.replaceAll('my.trust.domain', trustDomain);
  const yamlBelow = async (heading: string) =>
    blocksBelow(await readPage('docs/coming-from/csi-driver-spiffe.md'), heading)
      .filter(({ language }) => language === 'yaml')
      .map(({ code }) => parse(page(code)));
  const isOld = (issuer: string) => issuer === oldIssuer;
  const rootsAre = (wanted: number) =>
    waitFor(
      `${wanted} roots in ca.crt`,
      async () =>
        (await rootsIn(at().controlPlane, namespace, `${folder}/ca.crt`)).every((each) => each === wanted),
      { timeoutMs: 150_000, everyMs: 1_000 },
    );
  const published = async (): Promise<string> =>
    at().controlPlane.kubectl([
      ...['get', 'clustertrustbundle', 'kubespiffe.io:spiffe:roots', '-o', 'jsonpath={.spec.trustBundle}'],
    ]);
  let ownRoots = 0;

  step('two programs talk by tls.crt, tls.key and ca.crt below the old root', async () => {
    old = await makeCa({ subject: `CN=${oldIssuer}`, withoutUri: true });
    pair = await createPair(at().controlPlane, {
      namespace,
      program: 'files.mjs',
      idsOf: (name) => [idOf(name)],
    });
    for (const name of names) {
      await keep(name, old.pem);
      const secret = { secretName: name, defaultMode: 0o440 };
      await pair.apply(name, { ...form, volumes: [{ name: 'spiffe', secret }] });
    }
    await pair.answers(isOld);
  });

  step('both sides trust both roots', async () => {
    const { reader, controlPlane } = at();
    await mkdir(join(reader.folder, 'csi'));
    await writeFile(join(reader.folder, 'csi/root.pem'), old.pem);
    const [block] = blocksBelow(
      await readPage('docs/coming-from/csi-driver-spiffe.md'),
      'If the old root must sign nothing new',
    );
    assert.ok(block);
    await follow(reader, controlPlane, { ...block, code: `cd csi\n${page(block.code)}` });
    await controlPlane.kubectl([
      'wait',
      '--for=condition=Ready',
      'fedtd/csi-driver-spiffe',
      '--timeout=120s',
    ]);
    // What the driver does with the file of sourceCABundle.
    const own = await published();
    ownRoots = own.split('BEGIN CERT').length - 1;
    for (const name of names) await keep(name, old.pem + own);
    await rootsAre(ownRoots + 1);
    await pair.answers(isOld);
  });

  step('one Deployment moves by the volume of the page, then the other one', async () => {
    const [volume] = await yamlBelow('Migrate without downtime');
    await pair.apply('web', { ...form, ...volume });
    await pair.answers((issuer, of) => isOld(issuer) === (of === 'api'));
    await pair.apply('api', { ...form, ...volume });
    await pair.answers((issuer) => !isOld(issuer));
    await rootsAre(ownRoots + 1);
  });

  step(
    'no call fails while two programs move from the files of csi-driver-spiffe, and the old root goes',
    async () => {
      const { kubectl } = at().controlPlane;
      const [configMap, byHelper] = await yamlBelow('The same files from the helper');
      configMap.metadata.namespace = namespace;
      await kubectl(['apply', '-f', '-'], { input: JSON.stringify(configMap) });
      await pair.apply('api', { ...form, ...byHelper });
      await pair.answers((issuer) => !isOld(issuer));
      // The old root has no SPIFFE ID.
      await rootsAre(ownRoots + 1);
      await kubectl(['delete', 'fedtd/csi-driver-spiffe', 'clustertrustbundle/csi-driver-spiffe']);
      await rootsAre(ownRoots);
      await assertNoneFailed(pair);
    },
  );
}

/** The page about SPIRE, with two trust domains and a program on go-spiffe. A sidecar of ours stands for SPIRE's agent. */
export function itMovesWorkloadApi(at: At): void {
  const namespace = 'from-spire';
  const oldTrustDomain = 'old.example';
  const idIn = (domain: string, name: Name) => `spiffe://${domain}/ns/${namespace}/sa/${name}`;
  const isOld = (id: string) => id.startsWith(`spiffe://${oldTrustDomain}/`);
  const step = inOrder();
  let pair: Pair;
  let old: TestCa;
  let goSpiffe = '';
  before(async () => {
    goSpiffe = await judgesBinary();
  });
  after(() => pair?.clean());

  const tools = { name: 'go-spiffe', mountPath: '/go-spiffe', readOnly: true };
  const program = (): Pick<PodPart, 'env'> & { volumes: object[]; volumeMounts: object[] } => ({
    env: { GO_SPIFFE: '/go-spiffe/judges' },
    volumes: [{ name: 'go-spiffe', hostPath: { path: dirname(goSpiffe) } }],
    volumeMounts: [tools],
  });
  const socket = 'unix:///spire/agent.sock';

  /** The socket of SPIRE's agent, federated with the new trust domain. */
  function withAgent(name: Name): PodPart {
    const { env, volumes, volumeMounts } = program();
    const at = { name: 'agent-socket', mountPath: '/spire' };
    const matchLabels = {
      'k8s.spiffe.io/canarying': 'live',
      'k8s.spiffe.io/workload-trust-domain': trustDomain,
      'k8s.spiffe.io/peer-trust-domain': trustDomain,
    };
    const clusterTrustBundle = {
      ...{ signerName: 'kubespiffe.io/spiffe', labelSelector: { matchLabels }, path: 'roots.pem' },
    };
    return {
      env: { ...env, SPIFFE_ENDPOINT_SOCKET: socket },
      initContainers: [
        {
          ...{ name: 'agent', image, restartPolicy: 'Always', command: ['kubespiffe', 'workload-api'] },
          args: ['--credentials=/svid', `--socket=${socket}`, `--bundle=${trustDomain}=/federated/roots.pem`],
          startupProbe: {
            exec: { command: ['kubespiffe', 'workload-api', '--check', `--socket=${socket}`] },
            ...{ periodSeconds: 2, timeoutSeconds: 10, failureThreshold: 60 },
          },
          volumeMounts: [
            ...[at, { name: 'svid', mountPath: '/svid' }, { name: 'federated', mountPath: '/federated' }],
          ],
        },
      ],
      volumes: [
        ...volumes,
        { name: at.name, emptyDir: {} },
        { name: 'svid', secret: { secretName: name, defaultMode: 0o440 } },
        { name: 'federated', projected: { sources: [{ clusterTrustBundle }] } },
      ],
      volumeMounts: [...volumeMounts, { ...at, readOnly: true }],
    };
  }

  step('two programs talk by the socket of an agent in the old trust domain', async () => {
    const { controlPlane } = at();
    old = await makeCa({ subject: 'CN=old', trustDomain: oldTrustDomain });
    const idsOf = (name: Name) => [oldTrustDomain, trustDomain].map((domain) => idIn(domain, name));
    pair = await createPair(controlPlane, { namespace, program: 'workload-api.mjs', idsOf });
    await controlPlane.kubectl(['label', 'namespace', namespace, 'kubespiffe.io/injection=enabled']);
    for (const name of names) {
      const { pem } = await credentialsFor(idIn(oldTrustDomain, name), old);
      await keepFiles(controlPlane, namespace, name, { 'credentials.pem': pem, 'roots.pem': old.pem });
      await pair.apply(name, withAgent(name));
    }
    await pair.answers(isOld);
  });

  step('each trust domain has the bundle of the other one', async () => {
    const { kubectl } = at().controlPlane;
    const federated = {
      ...{ apiVersion: 'kubespiffe.io/v1alpha1', kind: 'FederatedTrustDomain', metadata: { name: 'spire' } },
      spec: { trustDomain: oldTrustDomain, bundle: bundleOf(old) },
    };
    await kubectl(['apply', '-f', '-'], { input: JSON.stringify(federated) });
    await kubectl(['wait', '--for=condition=Ready', 'fedtd/spire', '--timeout=120s']);
    await pair.answers(isOld);
  });

  step('one Deployment moves by the label of the page, then the other one', async () => {
    const blocks = blocksBelow(await readPage('docs/coming-from/spire.md'), 'Two trust domains');
    const { labels } = parse(blocks.find(({ language }) => language === 'yaml')?.code ?? '').metadata;
    await pair.apply('web', { ...program(), labels });
    await pair.answers((id, of) => isOld(id) === (of === 'api'));
    await pair.apply('api', { ...program(), labels });
    await pair.answers((id) => !isOld(id));
  });

  step(
    'no call fails while two programs with go-spiffe move from the socket of an agent to that of the sidecar',
    async () => {
      await at().controlPlane.kubectl(['delete', 'fedtd/spire']);
      await pair.answers((id) => !isOld(id));
      await assertNoneFailed(pair);
    },
  );
}

/** What `spire-server bundle show -format spiffe` prints: a SPIFFE bundle with one root. */
function bundleOf({ pem }: TestCa): string {
  const x5c = [pem.replace(/-----[A-Z ]+-----|\s/g, '')];
  const key = createPublicKey(pem).export({ format: 'jwk' });
  return JSON.stringify({
    keys: [{ use: 'x509-svid', ...key, x5c }],
    spiffe_sequence: 1,
    spiffe_refresh_hint: 300,
  });
}
