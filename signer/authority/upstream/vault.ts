import { sendHttps } from '../../../client/https.ts';
import { isJsonObject, type JsonObject, parseJsonBytes } from '../../../spiffe/json.ts';
import { failure, type Result, success } from '../../../spiffe/pki/result.ts';
import { printable } from '../../../spiffe/pki/text.ts';
import type { Upstream, UpstreamAnswer } from './upstream.ts';

const timeoutMs = 15_000;
const maxBytes = 256 * 1024;

/** How we show Vault who we are: by a token, or by that of a ServiceAccount to its Kubernetes auth method. */
export type VaultLogin =
  | { readonly token: string }
  | { readonly role: string; readonly mount: string; readonly readJwt: () => Promise<string> };

/**
 * Has the PKI engine of a Vault or OpenBao sign: POST `MOUNT/root/sign-intermediate`. Name, trust domain and rights are
 * given by us and not taken from the request.
 *
 * @param url https, with the mount as its path. roots: PEM of the CAs that its server certificate may come from, those of
 *   the system if absent. namespace: of Vault Enterprise or OpenBao.
 */
export function vaultUpstream(needs: {
  readonly url: URL;
  readonly login: VaultLogin;
  readonly roots?: string;
  readonly namespace?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}): Upstream {
  const { url, login, roots, namespace, env } = needs;
  const mount = url.pathname.replaceAll(/^\/|\/$/g, '');

  /** @returns the body of a success; else the status, 0 for no answer, and why. */
  async function post(
    path: string,
    body: object,
    token: string | undefined,
    signal: AbortSignal,
  ): Promise<Posted> {
    const answer = await sendHttps({
      url: new URL(`/v1/${path}`, url),
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-vault-request': 'true',
        ...(token !== undefined && { 'x-vault-token': token }),
        ...(namespace !== undefined && { 'x-vault-namespace': namespace }),
      },
      body: JSON.stringify(body),
      trust: roots === undefined ? {} : { ca: roots },
      env,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      maxBytes,
    });
    if (!answer.ok) return { ok: false, status: 0, reason: answer.reason };
    const read = parseJsonBytes(answer.value.body, 'the answer');
    const said: JsonObject = read.ok && isJsonObject(read.value) ? read.value : {};
    const { status } = answer.value;
    if (status === 200) return { ok: true, said };
    const errors = Array.isArray(said.errors) ? said.errors.join('; ') : '';
    return {
      ok: false,
      status,
      reason: `${url.host} answered ${status}: ${printable(errors.slice(0, 500))}`,
    };
  }

  async function tokenFor(signal: AbortSignal): Promise<Result<string> | Failed> {
    if ('token' in login) return success(login.token);
    const path = `auth/${login.mount}/login`;
    const posted = await post(path, { role: login.role, jwt: await login.readJwt() }, undefined, signal);
    if (!posted.ok) return posted;
    const token = isJsonObject(posted.said.auth) ? posted.said.auth.client_token : undefined;
    return typeof token === 'string'
      ? success(token)
      : failure(`${url.host} gave no token for role ${login.role}`);
  }

  return {
    name: `Vault ${url.host}/${mount}`,
    async sign({ id, request, trustDomain, lifetimeSeconds }, signal) {
      try {
        const token = await tokenFor(signal);
        if (!token.ok) return problemOf(token);
        const wanted = {
          csr: request,
          common_name: trustDomain === undefined ? id : `${trustDomain} ${id}`.slice(0, 64),
          organization: 'kubespiffe',
          ...(trustDomain !== undefined && { uri_sans: `spiffe://${trustDomain}` }),
          exclude_cn_from_sans: true,
          max_path_length: 0,
          ttl: `${lifetimeSeconds}s`,
          format: 'pem',
        };
        const posted = await post(`${mount}/root/sign-intermediate`, wanted, token.value, signal);
        return posted.ok ? answerOf(posted.said, url.host) : problemOf(posted);
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? `: ${String(error.code)}` : '';
        return { kind: 'pending', what: `the token for Vault cannot be read${code}` };
      }
    },
  };
}

interface Failed {
  readonly ok: false;
  readonly status?: number;
  readonly reason: string;
}
type Posted = { readonly ok: true; readonly said: JsonObject } | Failed;

/** Errors that pass: no answer, Vault is sealed or busy, its node is a standby. */
function problemOf({ status = 400, reason }: Failed): UpstreamAnswer {
  if (status === 0 || status === 412 || status === 429 || status >= 472)
    return { kind: 'pending', what: reason };
  const remedy =
    status === 403
      ? 'let the policy of its token update root/sign-intermediate of the mount'
      : status === 404
        ? 'correct the mount: it must be a PKI engine with a CA'
        : 'correct the PKI engine of Vault, or its role for kubespiffe';
  return { kind: 'refused', what: reason, remedy };
}

function answerOf({ data }: JsonObject, host: string): UpstreamAnswer {
  const { certificate, issuing_ca: issuer, ca_chain: chain } = isJsonObject(data) ? data : {};
  if (typeof certificate !== 'string' || certificate === '') {
    const remedy = 'check that the URL is that of a Vault, with the mount of a PKI engine';
    return { kind: 'refused', what: `${host} answered without a certificate`, remedy };
  }
  const above = [issuer, ...(Array.isArray(chain) ? chain : [])].filter(
    (each) => typeof each === 'string' && each !== '',
  );
  return {
    kind: 'signed',
    certificates: [
      { name: `data.certificate of ${host}`, pem: certificate },
      ...above.map((pem) => ({ name: `the chain of ${host}`, pem: String(pem) })),
    ],
  };
}
