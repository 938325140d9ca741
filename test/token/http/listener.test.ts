import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import { describe, it } from 'node:test';
import type { CertificateSource } from '../../../signer/token/http/certificate-source.ts';
import type { Http } from '../../../signer/token/http/http.ts';
import { runListener } from '../../../signer/token/http/listener.ts';
import type { ServerCertificate } from '../../../signer/token/http/tls.ts';
import { webCredentials } from '../../contract/bundle-endpoint.ts';
import { timeWith } from '../../kube/fake-time.ts';

/** Shows certificates with these lacks, one after the other. @returns states and warnings. */
async function shownFor(...lacks: (string | undefined)[]) {
  const { key, cert } = await webCredentials();
  const certificates = lacks.map((lack): ServerCertificate => {
    return { keyPem: key, chainPem: cert, notAfter: Number.POSITIVE_INFINITY, lack };
  });
  const source: CertificateSource = {
    first: async () => certificates[0],
    async follow({ use, looked }) {
      for (const each of certificates.slice(1)) {
        use(each);
        looked(undefined);
      }
    },
  };
  const states: string[] = [];
  const warnings: string[] = [];
  await runListener(
    {
      ...{ name: 'token-endpoint', address: { host: '127.0.0.1', port: 0 }, minTlsVersion: 'TLSv1.3' },
      certificates: source,
      async create(tls) {
        const server = createServer(tls);
        const app = { ready: async () => undefined, close: async () => void server.close() };
        return { app, server } as unknown as Http;
      },
      log: { info: () => undefined, warn: (...words: unknown[]) => void warnings.push(String(words[1])) },
      time: timeWith({}),
      lingerMs: 0,
      onState: (serves, reason) => void states.push(`${serves} ${reason.replace(/\d+/, 'N')}`),
    },
    new AbortController().signal,
  );
  return { states, warnings };
}

describe('what a certificate of a listener lacks', () => {
  const lack = 'its certificate does not have the DNS name localhost';
  const good = 'true listens on port N';

  it('a listener serves without the names that its CA forbids, says so in readiness, and warns once', async () => {
    const { states, warnings } = await shownFor(lack, lack, lack);
    const shown = `${good}; ${lack}`;
    assert.deepEqual(states, [shown, shown, shown, 'false draining']);
    assert.deepEqual(warnings, [lack]);
  });

  it('a listener warns again when another CA forbids names after one that permitted all', async () => {
    const { states, warnings } = await shownFor(lack, undefined, lack);
    assert.deepEqual(states, [`${good}; ${lack}`, good, `${good}; ${lack}`, 'false draining']);
    assert.deepEqual(warnings, [lack, lack]);
  });
});
