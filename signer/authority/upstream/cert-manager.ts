import { hash } from 'node:crypto';
import { messageOf } from '../../../spiffe/errors.ts';
import { printable, textOf } from '../../../spiffe/pki/text.ts';
import { ApiStatusError, isPlain404 } from '../../kube/api-error.ts';
import type { ApiRequest, Transport } from '../../kube/transport.ts';
import type { CertManagerIssuer, Upstream, UpstreamAnswer, UpstreamRequest } from './upstream.ts';

/** What is read of a CertificateRequest of cert-manager.io/v1. Others write its status, so nothing in it is certain. */
interface CertificateRequest {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type?: unknown;
      readonly status?: unknown;
      readonly reason?: unknown;
      readonly message?: unknown;
    }[];
    /** PEM in base64: the certificate, and intermediates perhaps. */
    readonly certificate?: unknown;
    /** PEM in base64: the root, or what the issuer holds for it; some issuers leave it out. */
    readonly ca?: unknown;
  };
}

/**
 * Has an issuer of cert-manager sign: by a CertificateRequest of ours, named by the request, so that it is made once. It stays
 * where it is, as the record of what was asked and answered.
 *
 * @param namespace of the CertificateRequest: that of the issuer, unless it is a ClusterIssuer.
 */
export function certManagerUpstream(needs: {
  readonly transport: Pick<Transport, 'request'>;
  readonly namespace: string;
  readonly issuer: CertManagerIssuer;
}): Upstream {
  const { transport, namespace, issuer } = needs;
  const collection = `/apis/cert-manager.io/v1/namespaces/${encodeURIComponent(namespace)}/certificaterequests`;
  const resource = 'certificaterequests';

  async function createOrGet(
    name: string,
    wanted: UpstreamRequest,
    signal: AbortSignal,
  ): Promise<CertificateRequest> {
    const send = async (call: Pick<ApiRequest, 'method' | 'path' | 'body'>) =>
      (await transport.request<CertificateRequest>({ ...call, resource, signal })).body;
    const get = { method: 'GET', path: `${collection}/${name}` } as const;
    try {
      return await send(get);
    } catch (error) {
      if (!(error instanceof ApiStatusError) || error.status !== 404 || isPlain404(error)) throw error;
    }
    try {
      return await send({ method: 'POST', path: collection, body: requestObject(name, wanted, issuer) });
    } catch (error) {
      // Another replica, or our predecessor, was faster.
      if (error instanceof ApiStatusError && error.status === 409) return send(get);
      throw error;
    }
  }

  return {
    name: `cert-manager ${issuer.kind}/${issuer.name}`,
    async sign(wanted, signal) {
      const name = nameOf(wanted, issuer);
      try {
        return answerOf(await createOrGet(name, wanted, signal), `certificaterequest ${namespace}/${name}`);
      } catch (error) {
        return problemOf(error);
      }
    },
  };
}

/** Another issuer gets a request of its own, and does not take the answer of the previous one. */
function nameOf({ id, request }: UpstreamRequest, { group, kind, name }: CertManagerIssuer): string {
  const readable = id.toLowerCase().replaceAll(/[^a-z0-9-]/g, '-');
  return `kubespiffe-${readable}-${hash('sha256', `${group}/${kind}/${name}\n${request}`, 'hex').slice(0, 16)}`;
}

function requestObject(
  name: string,
  { request, lifetimeSeconds }: UpstreamRequest,
  issuerRef: object,
): object {
  return {
    apiVersion: 'cert-manager.io/v1',
    kind: 'CertificateRequest',
    metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'kubespiffe' } },
    spec: {
      request: Buffer.from(request).toString('base64'),
      isCA: true,
      usages: ['cert sign', 'crl sign'],
      duration: `${lifetimeSeconds}s`,
      issuerRef,
    },
  };
}

function answerOf({ status = {} }: CertificateRequest, what: string): UpstreamAnswer {
  const conditions = Array.isArray(status.conditions) ? status.conditions : [];
  const isTrue = (type: string) => conditions.find((each) => each.type === type && each.status === 'True');
  const ready = conditions.find((each) => each.type === 'Ready');
  const refusal =
    isTrue('Denied') ?? isTrue('InvalidRequest') ?? (ready?.reason === 'Failed' ? ready : undefined);
  if (refusal) {
    const why = printable(`${refusal.reason ?? refusal.type}: ${refusal.message ?? ''}`.slice(0, 500));
    const remedy =
      'correct the issuer or its policy, withdraw the request with `kubespiffe ca remove`, and make a new one';
    return { kind: 'refused', what: `${what} was refused: ${why}`, remedy };
  }
  const certificate = pemOf(status.certificate);
  if (certificate === '') {
    const said = typeof ready?.message === 'string' ? `: ${printable(ready.message.slice(0, 500))}` : '';
    const state = isTrue('Approved') ? 'is approved and not signed yet' : 'waits for approval';
    return { kind: 'pending', what: `${what} ${state}${said}` };
  }
  const sources = [
    { name: `status.certificate of ${what}`, pem: certificate },
    { name: `status.ca of ${what}`, pem: pemOf(status.ca) },
  ];
  return { kind: 'signed', certificates: sources.filter(({ pem }) => pem !== '') };
}

function pemOf(base64: unknown): string {
  return typeof base64 === 'string' ? textOf(Buffer.from(base64, 'base64')) : '';
}

function problemOf(error: unknown): UpstreamAnswer {
  const status = error instanceof ApiStatusError ? error.status : 0;
  const what = messageOf(error);
  if (isPlain404(error)) {
    const lacking = 'the API server serves no CertificateRequests (cert-manager.io/v1)';
    return { kind: 'refused', what: lacking, remedy: 'install cert-manager' };
  }
  if (status === 403) {
    const remedy = 'grant get and create on certificaterequests.cert-manager.io in the namespace of the pool';
    return { kind: 'refused', what, remedy };
  }
  const isOurs = status >= 400 && status < 500 && status !== 429;
  return isOurs
    ? { kind: 'refused', what, remedy: 'correct the issuer, or ask another one' }
    : { kind: 'pending', what };
}
