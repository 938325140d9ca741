import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import path from 'node:path';
import { createJwtAuthority } from '../../signer/authority/create-jwt.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import type { Pod } from '../../signer/kube/types.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';
import { freePorts } from '../cluster/ports.ts';
import type { TokenFacts } from '../token/caller/bad-tokens.ts';
import { aPool, installSigner, putPool } from './installation.ts';
import { type SignerProcess, startSigner } from './signer-process.ts';

export const endpointAudience = 'spiffe://example.org/kubespiffe/token-endpoint';
export const x509Audience = 'spiffe://example.org/kubespiffe/x509-svid';
export const jwtIssuer = 'https://id.example.org';
const rbac = path.join(import.meta.dirname, '../../manifests/token-endpoint/rbac.yaml');

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  /** A list makes as many headers of the name. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Buffer;
}

/** A signer with its token endpoint, and a client that verifies the endpoint by the root of the pool. */
export interface TokenSigner {
  readonly signer: SignerProcess;
  readonly pool: PoolDocument;
  readonly port: number;
  readonly agent: Agent;
  /** Over the connection of `agent`, or of another agent. */
  call(call: Call, over?: Agent): Promise<Answer>;
  /** POST /token; more parameters replace the usual ones, undefined leaves one out. */
  exchange(token: string, parameters?: Record<string, string | undefined>): Promise<Answer>;
  /** POST /x509-svid. @param request PKCS#10, DER or PEM. */
  certify(token: string, request: Buffer | string, headers?: Call['headers']): Promise<Answer>;
}

/** A pool with a root, and keys for both algorithms that were there from the first. */
export async function aPoolWithJwtKeys(): Promise<PoolDocument> {
  const now = Math.floor(Date.now() / 1000);
  const pool = await aPool({ now });
  const keys = await Promise.all(
    (['es256', 'rs256'] as const).map((key) => createJwtAuthority({ key, now })),
  );
  return { ...pool, authorities: [...pool.authorities, ...keys] };
}

export async function installTokenEndpoint(
  controlPlane: ControlPlane,
  options: Parameters<typeof installSigner>[1] = {},
): Promise<{ kubeconfig: string; pool: PoolDocument }> {
  const kubeconfig = await installSigner(controlPlane, options);
  await controlPlane.kubectl(['apply', '-f', rbac]);
  const pool = await aPoolWithJwtKeys();
  await putPool(controlPlane, pool);
  return { kubeconfig, pool };
}

export async function startTokenSigner(
  installed: { kubeconfig: string; pool: PoolDocument },
  options: { flags?: readonly string[]; replica?: string; names?: readonly string[] } = {},
): Promise<TokenSigner> {
  const [port = 0] = await freePorts(1);
  const names = ['localhost', ...(options.names ?? [])].join(',');
  const signer = await startSigner({
    kubeconfig: installed.kubeconfig,
    ...(options.replica !== undefined && { replica: options.replica }),
    flags: [
      ...['--token-address', `127.0.0.1:${port}`, '--jwt-issuer', jwtIssuer, '--token-names', names],
      ...(options.flags ?? []),
    ],
  });
  const ca = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
  const agent = new Agent({ ca, keepAlive: true, servername: 'localhost', maxCachedSessions: 0 });
  const call = (wanted: Call, over = agent) => callOver(over, port, wanted);
  return {
    signer,
    pool: installed.pool,
    port,
    agent,
    call,
    certify: (token, request, headers = {}) =>
      call({
        method: 'POST',
        path: '/x509-svid',
        headers: { 'content-type': 'application/pkcs10', authorization: `Bearer ${token}`, ...headers },
        body: request,
      }),
    exchange(token, parameters = {}) {
      const form = {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        subject_token: token,
        audience: 'https://api.example.com',
        ...parameters,
      };
      const given = Object.entries(form).filter((entry): entry is [string, string] => entry[1] !== undefined);
      return call({
        method: 'POST',
        path: '/token',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(given).toString(),
      });
    },
  };
}

/** Sends a request to a port of this machine, over an agent that says whom to trust. */
export function callOver(agent: Agent, port: number, wanted: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', path: target, headers = {}, body } = wanted;
    const outgoing = request(
      { agent, host: '127.0.0.1', port, method, path: target, headers },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const isJson =
            /json/.test(incoming.headers['content-type'] ?? '') && !incoming.headers['content-encoding'];
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            text,
            json: isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {},
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export interface TokenWishes {
  audiences?: string[];
  expirationSeconds?: number;
  /** False: bound to no pod. */
  bound?: boolean;
}

/** A ServiceAccount token for a pod from the API server, as kubelet asks for it. */
export async function tokenFor(
  controlPlane: ControlPlane,
  pod: Pod,
  wishes: TokenWishes = {},
): Promise<string> {
  const { namespace = 'default', name, uid } = pod.metadata;
  const account = pod.spec?.serviceAccountName ?? 'default';
  const answer = await controlPlane.request(
    'POST',
    `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: wishes.audiences ?? [endpointAudience],
        expirationSeconds: wishes.expirationSeconds ?? 600,
        ...(wishes.bound !== false && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid } }),
      },
    },
  );
  if (answer.status !== 201) throw new Error(`no token: ${answer.status} ${JSON.stringify(answer.body)}`);
  return (answer.body as { status: { token: string } }).status.token;
}

/** What tokens of a pod are made of, with the API server's own key: for making bad ones. */
export async function factsOf(controlPlane: ControlPlane, pod: Pod): Promise<TokenFacts> {
  const token = await tokenFor(controlPlane, pod);
  const [head = '', body = ''] = token.split('.');
  const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
  const claims = decode(body);
  const kubernetes = claims['kubernetes.io'];
  const pem = await readFile(path.join(controlPlane.dir, 'sa.key'), 'utf8');
  return {
    key: createPrivateKey(pem),
    publicKey: createPublicKey(pem),
    kid: decode(head).kid,
    issuer: claims.iss,
    audience: endpointAudience,
    apiAudience: claims.iss,
    namespace: kubernetes.namespace,
    serviceAccount: kubernetes.serviceaccount,
    pod: kubernetes.pod,
    now: Math.floor(Date.now() / 1000),
  };
}

/** Whether an answer is a refusal in the form of RFC 6749 5.2, with our reason beside it. */
export function assertRefused(answer: Answer, reason: string, status = 400, error = 'invalid_request'): void {
  assert.deepEqual(
    { status: answer.status, reason: answer.json.reason, error: answer.json.error },
    { status, reason, error },
    answer.text,
  );
  assert.match(String(answer.json.error_description), /^[\x20-\x21\x23-\x5b\x5d-\x7e]{10,}$/);
  assert.equal(answer.headers['cache-control'], 'no-store');
}
