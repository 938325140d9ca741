import { execFile } from 'node:child_process';
import { Agent, request as send } from 'undici';
import type { Credential } from './certificates.ts';

/**
 * Headers by which the administrator speaks as a node. The admission policy of manifests/base lets nobody else create
 * PodCertificateRequests, the administrator included.
 */
export const asNode = {
  'impersonate-user': 'system:node:stand-in',
  'impersonate-group': 'system:nodes',
} as const;

export interface AdminAnswer {
  status: number;
  /** Parsed JSON, or the text where the answer is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it as it needs
  body: any;
}

/** The cluster administrator's way to the API server, for tests only. */
export interface Admin {
  request(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: object | string,
    options?: { contentType?: string; headers?: Readonly<Record<string, string>> },
  ): Promise<AdminAnswer>;
  kubectl(args: readonly string[], options?: { input?: string }): Promise<string>;
  close(): Promise<void>;
}

export function createAdmin(needs: {
  url: string;
  authority: string;
  credential: Credential;
  kubeconfig: string;
  kubectl: readonly string[];
  cacheFolder: string;
}): Admin {
  const agent = new Agent({
    connect: { ca: needs.authority, cert: needs.credential.certificate, key: needs.credential.key },
    connections: 64,
  });
  return {
    request: async (method, path, body, options = {}) => {
      const answer = await send(new URL(path, needs.url), {
        method,
        dispatcher: agent,
        headers: {
          accept: 'application/json',
          ...options.headers,
          ...(body !== undefined && { 'content-type': options.contentType ?? defaultContentType(method) }),
        },
        body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, body: parse(text) };
    },
    kubectl: (args, options = {}) =>
      runKubectl(
        [...needs.kubectl, `--kubeconfig=${needs.kubeconfig}`, `--cache-dir=${needs.cacheFolder}`],
        args,
        options.input,
      ),
    close: () => agent.destroy(),
  };
}

function defaultContentType(method: string): string {
  return method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function runKubectl(kubectl: string[], args: readonly string[], input: string | undefined): Promise<string> {
  const [program = '', ...flags] = kubectl;
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      [...flags, ...args],
      { maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`kubectl ${args.join(' ')}: ${stderr || error.message}`));
      },
    );
    // Its exit code says why it has not read all of its input.
    child.stdin?.on('error', () => {}).end(input ?? '');
  });
}
