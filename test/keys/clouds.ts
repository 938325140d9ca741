import { execFileSync } from 'node:child_process';
import { createVerify, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/**
 * Stand-ins for the key management services of AWS, Google and Azure. They speak what the documents of these say of
 * signing and of public keys over HTTP, and demand the credentials in the form in which the services do. No cloud is
 * asked by any test.
 */
export interface Cloud {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly port: number;
  /** The operations that were asked for, such as `Sign`. */
  readonly calls: string[];
  /** From now on every call fails like this; undefined for none. */
  failure: { readonly status: number; readonly body: object } | undefined;
  /** How long each answer takes, in milliseconds. */
  latencyMs: number;
  close(): void;
}

export interface CloudRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

type Answer = { readonly status: number; readonly body: object; readonly headers?: Record<string, string> };

/** @param handle answers a request; undefined for 404. */
async function startCloud(
  handle: (request: CloudRequest, calls: string[]) => Answer | undefined,
): Promise<Cloud> {
  const calls: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const answer = cloud.failure ??
      handle(
        {
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body: body === '' ? {} : JSON.parse(body),
        },
        calls,
      ) ?? { status: 404, body: { error: 'no such operation' } };
    setTimeout(() => {
      response.writeHead(answer.status, {
        'content-type': 'application/json',
        ...('headers' in answer ? (answer.headers as Record<string, string>) : {}),
      });
      response.end(JSON.stringify(answer.body));
    }, cloud.latencyMs);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cloud: Cloud = {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    failure: undefined,
    latencyMs: 0,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return cloud;
}

/** OpenSSL signs a digest as it is, which node:crypto does not. @returns DER for ECDSA. */
function signDigest(key: KeyObject, digest: Buffer, algorithm: 'sha256' | 'sha384'): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-cloud-'));
  try {
    const [keyFile, digestFile] = [join(folder, 'key'), join(folder, 'digest')];
    writeFileSync(keyFile, key.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(digestFile, digest);
    const padding =
      key.asymmetricKeyType === 'rsa'
        ? ['-pkeyopt', 'rsa_padding_mode:pkcs1', '-pkeyopt', `digest:${algorithm}`]
        : [];
    return execFileSync('openssl', ['pkeyutl', '-sign', '-inkey', keyFile, '-in', digestFile, ...padding]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** r‖s from DER, by OpenSSL's own reading of it: what is under test does the same the other way. */
function joined(der: Buffer, octets: number): Buffer {
  const lines = execFileSync('openssl', ['asn1parse', '-inform', 'DER'], { input: der })
    .toString()
    .split('\n');
  const numbers = lines.flatMap((line) => /INTEGER\s+:([0-9A-F]+)/.exec(line)?.[1] ?? []);
  return Buffer.concat(numbers.map((number) => Buffer.from(number.padStart(octets * 2, '0'), 'hex')));
}

const base64 = (value: unknown) => Buffer.from(String(value), 'base64');

/** AWS KMS: JSON 1.1, signature version 4 (its form, not its value). */
export function startAws(arn: string, keys: { privateKey: KeyObject; publicKey: KeyObject }): Promise<Cloud> {
  const algorithms: Record<string, 'sha256' | 'sha384'> = {
    ECDSA_SHA_256: 'sha256',
    ECDSA_SHA_384: 'sha384',
    RSASSA_PKCS1_V1_5_SHA_256: 'sha256',
  };
  return startCloud(({ method, path, headers, body }, calls) => {
    const refuse = (type: string, message: string) => ({ status: 400, body: { __type: type, message } });
    const [, operation = ''] = /^TrentService\.(\w+)$/.exec(String(headers['x-amz-target'])) ?? [];
    calls.push(operation);
    const scope =
      /^AWS4-HMAC-SHA256 Credential=AKIDTEST\/\d{8}\/eu-central-1\/kms\/aws4_request, SignedHeaders=/;
    if (method !== 'POST' || path !== '/' || !scope.test(headers.authorization ?? '')) {
      return refuse('IncompleteSignatureException', 'the request is not signed');
    }
    if (body.KeyId !== arn) return refuse('NotFoundException', `Key '${body.KeyId}' does not exist`);
    if (operation === 'GetPublicKey') {
      const der = keys.publicKey.export({ format: 'der', type: 'spki' });
      return {
        status: 200,
        body: { KeyId: arn, KeyUsage: 'SIGN_VERIFY', PublicKey: der.toString('base64') },
      };
    }
    const digestName = algorithms[String(body.SigningAlgorithm)];
    if (operation !== 'Sign' || body.MessageType !== 'DIGEST' || !digestName) {
      return refuse('ValidationException', 'the operation is not understood');
    }
    const signature = signDigest(keys.privateKey, base64(body.Message), digestName).toString('base64');
    return {
      status: 200,
      body: { KeyId: arn, Signature: signature, SigningAlgorithm: body.SigningAlgorithm },
    };
  });
}

/** Google Cloud KMS: REST, with a token that the service account of the test has signed. */
export function startGoogle(
  version: string,
  keys: { privateKey: KeyObject; publicKey: KeyObject },
  serviceAccount: KeyObject,
): Promise<Cloud> {
  return startCloud(({ method, path, headers, body }, calls) => {
    const refuse = (code: number, status: string, message: string) => ({
      status: code,
      body: { error: { code, status, message } },
    });
    const [signed = '', signature = ''] =
      /^Bearer ([\w-]+\.[\w-]+)\.([\w-]+)$/.exec(headers.authorization ?? '')?.slice(1) ?? [];
    const isKnown = createVerify('RSA-SHA256').update(signed).verify(serviceAccount, signature, 'base64url');
    if (!isKnown) return refuse(401, 'UNAUTHENTICATED', 'the token is not one of the service account');
    const [, name, operation] =
      /^\/v1\/(projects\/[^:?]+?)(?:\/(publicKey)|:(\w+))?(?:\?.*)?$/.exec(path) ?? [];
    const what = operation ?? /:(\w+)/.exec(path)?.[1] ?? '';
    calls.push(what);
    if (name !== version) return refuse(404, 'NOT_FOUND', 'no such version');
    if (method === 'GET' && what === 'publicKey') {
      return { status: 200, body: { name, pem: keys.publicKey.export({ format: 'pem', type: 'spki' }) } };
    }
    const [digestName, digest] = Object.entries((body.digest ?? {}) as Record<string, string>)[0] ?? [];
    if (what !== 'asymmetricSign' || (digestName !== 'sha256' && digestName !== 'sha384')) {
      return refuse(400, 'INVALID_ARGUMENT', 'the operation is not understood');
    }
    const made = signDigest(keys.privateKey, base64(digest), digestName).toString('base64');
    return { status: 200, body: { name, signature: made } };
  });
}

/** Azure Key Vault: REST after a challenge, r‖s for ECDSA. */
export function startAzure(
  key: string,
  keys: { privateKey: KeyObject; publicKey: KeyObject },
): Promise<Cloud> {
  const algorithms: Record<string, 'sha256' | 'sha384'> = {
    ES256: 'sha256',
    ES384: 'sha384',
    RS256: 'sha256',
  };
  return startCloud(({ method, path, headers, body }, calls) => {
    const challenge =
      'Bearer authorization="https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555", resource="https://vault.azure.net"';
    if (headers.authorization !== 'Bearer token-for-https://vault.azure.net/.default') {
      const error = { code: 'Unauthorized', message: 'AKV10000: Request is missing a Bearer or PoP token.' };
      return { status: 401, body: { error }, headers: { 'www-authenticate': challenge } };
    }
    const { pathname, searchParams } = new URL(path, 'https://my-vault.vault.azure.net');
    if (!searchParams.get('api-version')) return { status: 400, body: { error: { code: 'BadParameter' } } };
    const [, name, operation = 'get'] = /^\/keys\/([^/]+\/[0-9a-f]{32})(?:\/(\w+))?$/.exec(pathname) ?? [];
    calls.push(operation);
    const kid = `https://my-vault.vault.azure.net/keys/${key}`;
    if (name !== key)
      return { status: 404, body: { error: { code: 'KeyNotFound', message: 'no such key' } } };
    if (method === 'GET') {
      const { kty, ...jwk } = keys.publicKey.export({ format: 'jwk' });
      const ops = ['sign', 'verify'];
      return {
        status: 200,
        body: { key: { kid, kty: `${kty}-HSM`, key_ops: ops, ...jwk }, attributes: { enabled: true } },
      };
    }
    const digestName = algorithms[String(body.alg)];
    if (operation !== 'sign' || !digestName) {
      return {
        status: 400,
        body: { error: { code: 'BadParameter', message: 'the operation is not understood' } },
      };
    }
    const made = signDigest(keys.privateKey, Buffer.from(String(body.value), 'base64url'), digestName);
    const value = body.alg === 'RS256' ? made : joined(made, body.alg === 'ES256' ? 32 : 48);
    return { status: 200, body: { kid, value: value.toString('base64url') } };
  });
}
