import { readFile } from 'node:fs/promises';
import { Agent, request as send } from 'undici';
import { parse } from 'yaml';
import type { Credential } from '../cluster/certificates.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Answer {
  status: number;
  /** What the server said: the message of a Status, or the whole body. */
  message: string;
  /** What a Status names as causes. */
  causes: { reason?: string; field?: string }[];
  /** UID of the FlowSchema by which the server queued the call. */
  flowSchema: string;
}

/** Speaks to the API server as one user, and returns every answer as it is. */
export type Speaker = (method: Method, path: string, body?: object, contentType?: string) => Promise<Answer>;

/** Speaks as the user of a client certificate. */
export function asCertificate(controlPlane: ControlPlane, { certificate, key }: Credential): Speaker {
  const connect = { ca: controlPlane.authority.certificate, cert: certificate, key };
  return speaker(controlPlane, new Agent({ connect }), {});
}

/** Speaks as a ServiceAccount, with a token of its own. */
export async function asServiceAccount(
  controlPlane: ControlPlane,
  serviceAccount: { namespace: string; name: string },
): Promise<Speaker> {
  const kubeconfig = parse(await readFile(await controlPlane.kubeconfigFor(serviceAccount), 'utf8')) as {
    users: { user: { tokenFile: string } }[];
  };
  const token = await readFile(kubeconfig.users[0]?.user.tokenFile ?? '', 'utf8');
  const agent = new Agent({ connect: { ca: controlPlane.authority.certificate } });
  return speaker(controlPlane, agent, { authorization: `Bearer ${token}` });
}

function speaker(controlPlane: ControlPlane, agent: Agent, headers: Record<string, string>): Speaker {
  controlPlane.onStop(() => agent.destroy());
  return async (method, path, body, contentType = 'application/json') => {
    const answer = await send(new URL(path, controlPlane.url), {
      method,
      dispatcher: agent,
      headers: { ...headers, ...(body && { 'content-type': contentType }) },
      body: body ? JSON.stringify(body) : null,
    });
    const flowSchema = String(answer.headers['x-kubernetes-pf-flowschema-uid']);
    if (path.includes('watch=true') && answer.statusCode === 200) {
      // That it was opened is the answer; it would go on for minutes.
      answer.body.on('error', () => {}).destroy();
      return { status: 200, message: '', causes: [], flowSchema };
    }
    const text = await answer.body.text();
    return { status: answer.statusCode, flowSchema, ...statusIn(text) };
  };
}

function statusIn(text: string): Pick<Answer, 'message' | 'causes'> {
  try {
    const { message, details } = JSON.parse(text) as { message?: unknown; details?: Partial<Answer> };
    return { message: typeof message === 'string' ? message : text, causes: details?.causes ?? [] };
  } catch {
    return { message: text, causes: [] };
  }
}
