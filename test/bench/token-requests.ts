/** A request to be sent as it is, and what its answer must be to count. */
export interface PreparedRequest {
  readonly bytes: Buffer;
  readonly status: number;
  /** Stands in the body of the answer. */
  readonly holds: string;
}

/** `POST /token` with a ServiceAccount token. */
export function exchangeOf(token: string): PreparedRequest {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    subject_token: token,
    audience: 'https://api.example.com',
  });
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  return { bytes: bytesOf('POST /token', headers, `${form}`), status: 200, holds: '"access_token":"ey' };
}

/** `POST /jwt-svid` over a connection whose client certificate is the credential. */
export function shortFormRequest(): PreparedRequest {
  const body = JSON.stringify({ audience: 'https://api.example.com' });
  const headers = { 'Content-Type': 'application/json' };
  return { bytes: bytesOf('POST /jwt-svid', headers, body), status: 200, holds: '"access_token":"ey' };
}

/** `POST /x509-svid` with a ServiceAccount token and a PKCS#10 request, DER. */
export function certificateRequest(token: string, request: Buffer): PreparedRequest {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/pkcs10' };
  return { bytes: bytesOf('POST /x509-svid', headers, request), status: 200, holds: 'BEGIN CERTIFICATE' };
}

/** What the endpoint asks the API server about a token (signer/token/review.ts), asked directly. */
export function reviewOf(token: string, audience: string, authorization: string): PreparedRequest {
  const spec = { token, audiences: [audience] };
  const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec });
  const headers = {
    Authorization: authorization,
    Accept: 'application/json',
    'Content-Type': 'application/json',
  };
  const line = 'POST /apis/authentication.k8s.io/v1/tokenreviews';
  return { bytes: bytesOf(line, headers, body), status: 201, holds: '"authenticated":true' };
}

/** `GET /bundle`, as a federated trust domain polls it. */
export function bundleRequest(): PreparedRequest {
  return { bytes: bytesOf('GET /bundle', {}), status: 200, holds: '"spiffe_sequence"' };
}

function bytesOf(
  line: string,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer = '',
): Buffer {
  const bytes = Buffer.from(body);
  const length = bytes.length === 0 ? {} : { 'Content-Length': `${bytes.length}` };
  const fields = Object.entries({ Host: 'localhost', ...headers, ...length });
  const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`${line} HTTP/1.1\r\n${head}\r\n`), bytes]);
}
