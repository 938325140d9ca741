import { randomBytes } from 'node:crypto';
import { reserveNothing } from '../signer/authority/reservations.ts';
import { createLimiter } from '../signer/kube/limiter.ts';
import type { Time } from '../signer/kube/time.ts';
import { describe, pass } from '../signer/observe/checked.ts';
import { addBundleRoutes, createBundles } from '../signer/token/http/bundle-routes.ts';
import { ownCertificates } from '../signer/token/http/certificate-source.ts';
import { addDocumentRoutes, createDocuments } from '../signer/token/http/document-routes.ts';
import { addDocuments } from '../signer/token/http/document-scope.ts';
import { createHttp } from '../signer/token/http/http.ts';
import { runListener } from '../signer/token/http/listener.ts';
import { addTokenRoutes } from '../signer/token/http/token-routes.ts';
import type { TokenService } from '../signer/token/svid/jwt-service.ts';
import { publicationOf } from '../signer/trust/publication.ts';
import { KubespiffeError, messageOf } from '../spiffe/errors.ts';
import type { Authorities } from './authorities.ts';

/** How often others should read the documents again, in seconds: less than a new key is published before it signs. */
const refreshHintSeconds = 5;
const noPeers: ReadonlyMap<string, string> = new Map();
const peers = () => noPeers;
const notFederated = { trustDomains: [], because: 'kubespiffe dev' } as const;
/** Requests a second of one address. All clients have the same one here. */
const perSecond = 10_000;

/**
 * The token endpoint of the signer on loopback, with its documents, until the signal is aborted. Its certificate is for
 * `localhost`.
 *
 * @returns once it listens, a function that waits for its end.
 * @throws KubespiffeError ALREADY_EXISTS where the port is taken.
 */
export async function serveTokenEndpoint(
  needs: {
    readonly port: number;
    readonly issuer: string;
    readonly trustDomain: string;
    readonly authorities: Authorities;
    readonly issueToken: TokenService;
    readonly log: (line: string) => void;
    readonly time: Time;
  },
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const { port, trustDomain, authorities, issueToken, log, time } = needs;
  const quiet = { info: () => undefined, warn: (_fields: unknown, message?: string) => log(message ?? '') };
  const certificates = ownCertificates({
    authority: () => {
      const signable = authorities.signable(Math.floor(time.now() / 1000));
      return signable.ok ? signable : { ok: false, reason: 'PoolUnusable', detail: signable.problem.message };
    },
    reserve: reserveNothing,
    ...{ trustDomain, dnsNames: ['localhost'], randomBytes, log: quiet, time },
  });
  const publication = publicationOf(authorities.current);
  const { promise: listens, resolve } = Promise.withResolvers<void>();
  const ended = runListener(
    {
      name: 'token-endpoint',
      address: { host: '127.0.0.1', port },
      minTlsVersion: 'TLSv1.2',
      asksForCertificates: true,
      certificates,
      async create(tls) {
        const http = createHttp({
          tls,
          addressLimits: createLimiter({ perSecond, time }),
          connectionRate: createLimiter({ perSecond, time }),
          report: ({ path }, outcome) => {
            if (!outcome.ok) log(`refused ${path}: ${outcome.code}, ${describe(outcome)}`);
          },
          onCut: () => undefined,
          onError: (error) => log(`the token endpoint failed: ${messageOf(error)}`),
          time,
        });
        const documents = createDocuments(publication, { ...needs, refreshHintSeconds });
        const bundles = createBundles({ ...needs, publication, peers, refreshHintSeconds });
        await addDocuments(http, (scope) => {
          addDocumentRoutes(scope, documents, refreshHintSeconds);
          addBundleRoutes(scope, bundles, async () => pass(notFederated), refreshHintSeconds);
        });
        addTokenRoutes(http, issueToken);
        return http;
      },
      log: quiet,
      time,
      lingerMs: 0,
      onState: (serves) => serves && resolve(),
    },
    signal,
  );
  await Promise.race([listens, ended]).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE') throw error;
    const hint = 'end it, or choose another port with --port; 0 takes any that is free';
    throw new KubespiffeError('ALREADY_EXISTS', `another process listens on port ${port}`, { hint });
  });
  return () => ended;
}
