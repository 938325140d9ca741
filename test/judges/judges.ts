import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { judgesBinary } from './build.ts';
import { run as runProgram } from './run.ts';

/** What a judge says. `errors` is empty exactly when `ok`. */
export interface Verdict {
  readonly ok: boolean;
  readonly errors: readonly string[];
  readonly facts: Readonly<Record<string, string>>;
}

/** PEM roots by name of their trust domain. */
export type Bundles = Readonly<Record<string, string>>;

/** One end of an mTLS connection. */
export interface MtlsSide {
  /** Private key and chain, PEM, as kubelet writes them to `credentialBundlePath`. */
  readonly credentials: string;
  readonly bundles: Bundles;
  /** SPIFFE ID that the other side must have; any where absent. */
  readonly expects?: string;
}

/** A document with what verifies the SVIDs of a trust domain. */
export interface BundleDocument {
  readonly trustDomain: string;
  readonly content: string | Uint8Array;
}

/** An endpoint that serves a bundle, and how it proves itself: by PEM roots of the web, or by its SPIFFE ID. */
export interface BundleEndpoint {
  readonly trustDomain: string;
  readonly url: string;
  readonly profile:
    | { readonly name: 'https_web'; readonly roots: string }
    | { readonly name: 'https_spiffe'; readonly endpointId: string; readonly bundles: Bundles };
}

export interface Question {
  readonly kind: 'spki' | 'csr' | 'certificate';
  readonly der: Uint8Array;
}

export interface Answer {
  readonly ok: boolean;
  /** The key in the words of our key table, for example "RSA 3072"; empty where Go knows the algorithm not. */
  readonly key: string;
  readonly error: string;
  /** The fields of a certificate's PodIdentity extension (KEP-4317), in order; empty where it has none. */
  readonly pod: readonly string[];
}

/** What a Workload API answers, in the JSON form of its protobuf messages. A method without an answer is denied. */
export interface WorkloadApiAnswers {
  readonly x509?: object;
  readonly x509Bundles?: object;
  readonly jwtBundles?: object;
  readonly jwt?: object;
}

export interface ServedWorkloadApi extends AsyncDisposable {
  /** @returns how many streams clients have opened so far. */
  become(answers: WorkloadApiAnswers): Promise<number>;
}

/** Judges that are not ours, run from one Go binary. */
export interface Judges {
  /** go-spiffe: `x509svid.Verify` of a PEM chain, and with a key `x509svid.Parse` of both. Fact: id. */
  x509Svid(input: { chain: string; bundles: Bundles; key?: string; now?: Date }): Promise<Verdict>;
  /** go-spiffe: a `spiffetls` server and client. Facts: serverSaw and clientSaw, the peers' SPIFFE IDs. */
  mtls(input: { server: MtlsSide; client: MtlsSide }): Promise<Verdict>;
  /**
   * go-spiffe: one end of an mTLS connection with ours; the client sends an octet, the server returns it. Fact: saw.
   *
   * @param own files, or the address of a Workload API.
   * @param network of a process, by its id, where that is not the network of this machine.
   */
  mtlsPeer(input: {
    own: MtlsSide | string;
    address: string;
    listens: boolean;
    network?: number;
  }): Promise<Verdict>;
  /**
   * go-spiffe: `jwtsvid.ParseAndValidate`. Facts: id, audience, expiry.
   *
   * @param bundle a SPIFFE bundle, a JWK set, or the address of a Workload API.
   */
  jwtSvid(input: {
    token: string;
    audience: string;
    bundle: BundleDocument | string;
    isJwks?: boolean;
  }): Promise<Verdict>;
  /** go-spiffe: `spiffebundle.Parse`. Facts: roots (SHA-256), kids, sequence, refreshHint. */
  spiffeBundle(bundle: BundleDocument): Promise<Verdict>;
  /** go-spiffe: `jwtbundle.Parse`. Fact: kids. */
  jwtBundle(bundle: BundleDocument): Promise<Verdict>;
  /** go-spiffe: `federation.FetchBundle`. Facts as for spiffeBundle. */
  federation(endpoint: BundleEndpoint): Promise<Verdict>;
  /** go-spiffe: every method of a Workload API. Facts: x509, x509-bundles, fetched-bundles, jwt, validated. */
  workloadApi(input: { address: string; audience: string }): Promise<Verdict>;
  /** go-spiffe: the X.509 contexts of a Workload API as they come. Fact: x509. */
  workloadApiUpdates(input: { address: string; updates: number }): Promise<readonly Verdict[]>;
  /** grpc-go and the messages of go-spiffe: a Workload API at the path of a socket. Ends connections at an age. */
  serveWorkloadApi(input: { path: string; maxConnectionAge?: string }): Promise<ServedWorkloadApi>;
  /** Kubernetes: `ValidatePodCertificateRequestCreate` of an object of either version. */
  podCertificateRequest(request: object): Promise<Verdict>;
  /** Kubernetes: `ValidatePodCertificateRequestStatusUpdate` at a time of the API server's clock. */
  podCertificateStatus(input: { before: object; after: object; now: Date }): Promise<Verdict>;
  /** Kubernetes: `ValidateClusterTrustBundle`, or with the one before it `…Update`. */
  clusterTrustBundle(bundle: object, before?: object): Promise<Verdict>;
  /** crypto/x509: whether Go can read these bytes, and what key it finds. Answers in the order of questions. */
  parse(questions: readonly Question[]): Promise<Answer[]>;
}

export const verdictSchema = z.object({
  ok: z.boolean(),
  errors: z.array(z.string()).default([]),
  facts: z.record(z.string(), z.string()).default({}),
});
const answer = z.object({
  ok: z.boolean(),
  key: z.string().default(''),
  error: z.string().default(''),
  pod: z.array(z.string()).default([]),
});

/** Builds the judges where that was not done yet, and offers them. */
export async function openJudges(): Promise<Judges> {
  const binary = await judgesBinary();
  return {
    x509Svid: ({ chain, bundles, key, now }) =>
      judge(binary, 'x509-svid', [
        ['chain', chain],
        ...bundleFlags('bundle', bundles),
        ...(key === undefined ? [] : [['key', key] as const]),
        ...(now ? [['now', { literal: now.toISOString() }] as const] : []),
      ]),
    mtls: ({ server, client }) =>
      judge(binary, 'mtls', [...sideFlags('server', server), ...sideFlags('client', client)]),
    mtlsPeer: ({ own, address, listens, network }) =>
      judge(
        binary,
        'mtls-peer',
        [
          ...(typeof own === 'string'
            ? [['workload-api', { literal: own }] as const]
            : sideFlags('own', own)),
          ['address', { literal: address }],
        ],
        listens ? ['--listen'] : [],
        network,
      ),
    jwtSvid: ({ token, audience, bundle, isJwks }) =>
      judge(
        binary,
        'jwt-svid',
        [
          ...(typeof bundle === 'string'
            ? [['workload-api', { literal: bundle }] as const]
            : documentFlags(bundle)),
          ['token', token],
          ['audience', { literal: audience }],
        ],
        isJwks ? ['--jwks'] : [],
      ),
    spiffeBundle: (bundle) => judge(binary, 'spiffe-bundle', documentFlags(bundle)),
    jwtBundle: (bundle) => judge(binary, 'jwt-bundle', documentFlags(bundle)),
    federation: ({ trustDomain, url, profile }) =>
      judge(binary, 'federation', [
        ['trust-domain', { literal: trustDomain }],
        ['url', { literal: url }],
        ...(profile.name === 'https_web'
          ? [['web-roots', profile.roots] as const]
          : [
              ['endpoint-id', { literal: profile.endpointId }] as const,
              ...bundleFlags('bundle', profile.bundles),
            ]),
      ]),
    workloadApi: ({ address, audience }) =>
      judge(binary, 'workload-api', [
        ['address', { literal: address }],
        ['audience', { literal: audience }],
      ]),
    async workloadApiUpdates({ address, updates }) {
      const words = ['workload-api', '--address', address, '--updates', String(updates)];
      const lines = (await run(binary, words)).trim().split('\n');
      return lines.slice(0, updates).map((line) => verdictSchema.parse(JSON.parse(line)));
    },
    serveWorkloadApi: (input) => serveWorkloadApi(binary, input),
    podCertificateRequest: (request) => judge(binary, 'pcr-create', [['file', JSON.stringify(request)]]),
    podCertificateStatus: ({ before, after, now }) =>
      judge(binary, 'pcr-status', [
        ['old', JSON.stringify(before)],
        ['new', JSON.stringify(after)],
        ['now', { literal: now.toISOString() }],
      ]),
    clusterTrustBundle: (bundle, before) =>
      judge(binary, 'ctb', [
        ['file', JSON.stringify(bundle)],
        ...(before ? [['old', JSON.stringify(before)] as const] : []),
      ]),
    parse: (questions) => parse(binary, questions),
  };
}

/** A flag whose value is the path of a file with this content, perhaps behind a prefix, or is itself the value. */
type Flag = readonly [
  name: string,
  value: string | { prefix: string; content: string } | { literal: string },
];

function bundleFlags(name: string, bundles: Bundles): Flag[] {
  return Object.entries(bundles).map(
    ([domain, content]) => [name, { prefix: `${domain}=`, content }] as const,
  );
}

function documentFlags({ trustDomain, content }: BundleDocument): Flag[] {
  const text = typeof content === 'string' ? content : Buffer.from(content).toString('utf8');
  return [
    ['trust-domain', { literal: trustDomain }],
    ['file', text],
  ];
}

function sideFlags(name: string, side: MtlsSide): Flag[] {
  return [
    [name, side.credentials],
    ...bundleFlags(`${name}-bundle`, side.bundles),
    ...(side.expects === undefined ? [] : [[`${name}-expects`, { literal: side.expects }] as const]),
  ];
}

async function judge(
  binary: string,
  name: string,
  flags: readonly Flag[],
  switches: readonly string[] = [],
  network?: number,
): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-judge-'));
  try {
    const words = await Promise.all(
      flags.map(async ([flag, value], index) => {
        if (typeof value === 'object' && 'literal' in value) return [`--${flag}`, value.literal];
        const { prefix, content } = typeof value === 'string' ? { prefix: '', content: value } : value;
        const path = join(folder, String(index));
        await writeFile(path, content, { mode: 0o600 });
        return [`--${flag}`, prefix + path];
      }),
    );
    const command = [binary, name, ...switches, ...words.flat()] as const;
    const [program, ...rest] =
      network === undefined
        ? command
        : (['nsenter', `--net=/proc/${network}/ns/net`, '--', ...command] as const);
    return verdictSchema.parse(JSON.parse(await run(program, rest)));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function serveWorkloadApi(
  binary: string,
  { path, maxConnectionAge = '1h' }: { path: string; maxConnectionAge?: string },
): Promise<ServedWorkloadApi> {
  const words = ['workload-api-server', '--socket', path, '--max-connection-age', maxConnectionAge];
  const child = spawn(binary, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface(child.stdout);
  const served: ServedWorkloadApi = {
    async become(answers) {
      const confirmed = once(lines, 'line', { signal: AbortSignal.timeout(10_000) });
      child.stdin.write(`${JSON.stringify(answers)}\n`);
      const [line] = await confirmed;
      return Number(verdictSchema.parse(JSON.parse(line)).facts.streams);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
  await served.become({});
  return served;
}

async function parse(binary: string, questions: readonly Question[]): Promise<Answer[]> {
  const lines = questions.map(
    ({ kind, der }) => `${JSON.stringify({ kind, der: Buffer.from(der).toString('base64') })}\n`,
  );
  const output = await run(binary, ['parse'], lines.join(''));
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => answer.parse(JSON.parse(line)));
}

/** Standard output of a judge that gave a verdict; throws where it was used wrongly. */
async function run(binary: string, words: readonly string[], input = ''): Promise<string> {
  // A judge that gives up before it has read all says why on standard error.
  const { code, stdout, stderr } = await runProgram(binary, words, input);
  if (code !== 0 && code !== 1) throw new Error(`judges ${words[0]} exited with ${code}: ${stderr}`);
  return stdout;
}
