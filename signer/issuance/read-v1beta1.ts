import { isNotFoundOfObject } from '../kube/api-error.ts';
import { createJsonReader } from '../kube/json-reader.ts';
import type { Transport } from '../kube/transport.ts';
import type { CertificatesVersion, PodCertificateRequest } from '../kube/types.ts';
import { type OpenRequest, requestFields, toCertificateRequest } from './request.ts';
import { pathOf } from './status.ts';

/**
 * A kubelet of 1.35 sends its key in a field that v1 does not have: read through v1 its request shows no key.
 * Where v1beta1 is served as well, such a request is read once more through it (KEP-4317, version skew).
 *
 * @returns the request with its key, `beta-not-served`, or `gone`. Throws what the transport throws.
 */
export async function readThroughBeta(
  request: OpenRequest,
  needs: {
    readonly transport: Transport;
    readonly servedVersions: () => readonly CertificatesVersion[];
    readonly signal: AbortSignal;
  },
): Promise<OpenRequest | 'beta-not-served' | 'gone'> {
  if (!needs.servedVersions().includes('v1beta1')) return 'beta-not-served';
  const version = 'v1beta1';
  try {
    const { body } = await needs.transport.request<PodCertificateRequest>({
      method: 'GET',
      path: pathOf({ ...request, version }),
      resource: 'podcertificaterequests',
      reader: () => createJsonReader(requestFields),
      signal: needs.signal,
    });
    const again = toCertificateRequest(body, version);
    return again.uid !== request.uid || again.answered !== undefined ? 'gone' : again;
  } catch (error) {
    if (isNotFoundOfObject(error)) return 'gone';
    throw error;
  }
}

/** Whether a request looks like one that only v1beta1 shows whole. */
export function hidesItsKey(request: OpenRequest): boolean {
  return request.version === 'v1' && request.key.form === 'none';
}
