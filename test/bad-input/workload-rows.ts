import type { BadInput } from './rows.ts';

const source = 'workload/x509-source.test.ts';
const peers = 'workload/verify-peer.test.ts';
const tls = 'workload/tls.test.ts';
const tokens = 'workload/jwt.test.ts';
const socket = 'workload/workload-api.test.ts';
const sds = 'workload/api/sds.test.ts';

/** A test of Envoy's API in both of its forms. */
const ofBothForms = (title: string) =>
  ['StreamSecrets', 'DeltaSecrets'].map((form) => [sds, `${form} ${title}`] as const);

/** Bad input to workloads that use the Node.js library. */
export const workloadBadInput: readonly BadInput[] = [
  {
    input:
      'to the Node.js library: a volume without the file of the credentials, or an empty or truncated one',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [source, 'an X509Source does not open a folder if there is no file with credentials'],
      [source, 'an X509Source does not open a folder if the credentials are empty'],
      [source, 'an X509Source does not open a folder if the credentials are cut off'],
      [
        source,
        'an X509Source reports a problem once, keeps the last good certificate, and takes the next good one',
      ],
    ],
  },
  {
    input: 'to the library: no private key, two of them, or an encrypted one',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [source, 'an X509Source does not open a folder if there is no private key'],
      [source, 'an X509Source does not open a folder if there are two private keys'],
      [source, 'an X509Source does not open a folder if the private key is encrypted'],
    ],
  },
  {
    input: 'to the library: a private key without certificate, or with that of another key',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [source, 'an X509Source does not open a folder if there is no certificate'],
      [source, 'an X509Source does not open a folder if the key is that of another certificate'],
    ],
  },
  {
    input: 'to the library: a chain mixed from two credentials',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [[source, 'an X509Source does not open a folder if the chain is mixed from two credentials']],
  },
  {
    input: 'to the library: files that change while they are read, 10,000 swaps of `..data` in random order',
    verdict: 'key, chain and roots of one moment',
    tests: [
      [
        source,
        'files in a rotation are never a key with another certificate, nor mixed roots, in 10,000 swaps of ..data',
      ],
    ],
  },
  {
    input: 'to the library: a file that its writer overwrites in place',
    verdict: 'a whole credential or none',
    tests: [
      [
        source,
        'files in a rotation are refused in every state in which a writer that overwrites them leaves them',
      ],
    ],
  },
  {
    input: 'to the library: an own certificate that is expired, of a CA, or with two URIs',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [source, 'an X509Source does not open a folder if the certificate has expired'],
      [source, 'an X509Source does not open a folder if the certificate is one of a CA'],
      [source, 'an X509Source does not open a folder if the certificate has two URIs'],
    ],
  },
  {
    input: 'to the library: a new own certificate that none of the known roots has signed',
    verdict: 'the last one stays in use until it expires, then the new one is used',
    tests: [
      [source, 'an X509Source does not replace a good certificate by one that no root has signed'],
      [source, 'an X509Source takes a certificate that no root has signed once the proven one has expired'],
    ],
  },
  {
    input: 'to the library: an own certificate that is not renewed',
    verdict: 'it stays in use',
    tests: [
      [
        source,
        'an X509Source reports a certificate that is not renewed in time, and again when it has expired',
      ],
    ],
  },
  {
    input: 'to the library: a clock that is a day behind',
    verdict: 'the own certificate is used',
    tests: [
      [
        source,
        'an X509Source uses a certificate that is not valid yet, because the clock of its peers decides',
      ],
    ],
  },
  {
    input: 'to the library: a file of roots that is missing, truncated, a private key or a leaf',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [source, 'an X509Source does not open a folder if there is no file with roots'],
      [source, 'an X509Source does not open a folder if the roots are cut off'],
      [source, 'an X509Source does not open a folder if the roots are a private key'],
      [source, 'an X509Source does not open a folder if the roots are a leaf'],
    ],
  },
  {
    input: 'to the library: roots of other trust domains only',
    verdict: 'peers of the own trust domain are refused',
    tests: [[source, 'an X509Source reports problems of its start to later listeners']],
  },
  {
    input: 'to the library: a root without a SPIFFE ID in a file of several trust domains',
    verdict: 'it counts for none',
    tests: [
      [
        peers,
        'a file with roots gives each trust domain its own roots, and ignores roots without a trust domain',
      ],
    ],
  },
  {
    input: 'to the library: a root of our trust domain in the file of a federated one',
    verdict: 'it counts for neither',
    tests: [
      [
        peers,
        'a bundle of a named trust domain verifies no peer of another one, even if its roots name that',
      ],
      [tokens, 'a BundleSource does not use roots of one trust domain in the file of another one'],
    ],
  },
  {
    input: 'a TLS peer of the library: an ID of one trust domain, signed by another whose roots are known',
    verdict: 'refused, rule `chain`',
    tests: [
      [peers, 'the chain of a peer is refused: an ID of our trust domain, signed by the federated one'],
      [peers, 'the chain of a peer is refused: an ID of the federated trust domain, signed by ours'],
    ],
  },
  {
    input: 'a TLS peer of the library: a trust domain without a bundle',
    verdict: 'refused, rule `trust-domain`',
    tests: [[peers, 'the chain of a peer is refused: an ID of a trust domain without a bundle']],
  },
  {
    input: 'a TLS peer of the library: an unknown CA that has our names',
    verdict: 'refused, rule `chain`',
    tests: [
      [peers, 'the chain of a peer is refused: a certificate of an unknown CA that names itself as ours'],
    ],
  },
  {
    input: 'a TLS peer of the library: two URIs or none',
    verdict: 'refused, rule `x509-svid`',
    tests: [
      [peers, 'the chain of a peer is refused: a certificate with two URIs'],
      [peers, 'the chain of a peer is refused: a certificate without a URI'],
    ],
  },
  {
    input: 'a TLS peer of the library: a URI that is not a SPIFFE ID of a workload',
    verdict: 'refused, rule `x509-svid`',
    tests: [
      [peers, 'the chain of a peer is refused: a URI that is no SPIFFE ID'],
      [peers, 'the chain of a peer is refused: a SPIFFE ID with an empty segment'],
      [peers, 'the chain of a peer is refused: a SPIFFE ID without a path'],
    ],
  },
  {
    input:
      'a TLS peer of the library: a CA certificate, with or without the ID of a workload, or one for servers alone',
    verdict: 'refused, rule `x509-svid`',
    tests: [
      [peers, 'the chain of a peer is refused: a CA as a peer'],
      [peers, 'the chain of a peer is refused: a CA with the ID of a workload as a peer'],
      [peers, 'the chain of a peer is refused: a certificate for servers alone'],
    ],
  },
  {
    input: 'a TLS peer of the library: a certificate that is expired or not valid yet',
    verdict: 'refused, rule `validity`',
    tests: [
      [peers, 'the chain of a peer is refused: an expired certificate'],
      [peers, 'the chain of a peer is refused: a certificate that is not valid yet'],
    ],
  },
  {
    input:
      'a TLS peer of the library: a chain with a gap, a leaf as issuer, an expired issuer, or one that is too long',
    verdict: 'refused, rule `chain`',
    tests: [
      [peers, 'the chain of a peer is refused: a chain without its intermediate'],
      [peers, 'the chain of a peer is refused: a certificate that was signed by a leaf'],
      [peers, 'the chain of a peer is refused: a chain with an expired intermediate'],
      [peers, 'the chain of a peer is refused: a chain longer than its CA allows'],
    ],
  },
  {
    input:
      'a TLS peer of the library: a CA that is constrained to another trust domain or other DNS names, or has an unknown critical extension',
    verdict: 'refused, rule `chain`',
    tests: [
      [
        peers,
        'the chain of a peer is refused: a workload below a CA that is constrained to another trust domain',
      ],
      [peers, 'the chain of a peer is refused: a workload below a CA that is constrained to other DNS names'],
      [peers, 'the chain of a peer is refused: a workload below a CA with an unknown critical extension'],
    ],
  },
  {
    input: 'a TLS peer of the library: no certificate, or one that cannot be read',
    verdict: 'refused, rule `certificate`',
    tests: [
      [peers, 'a chain is refused without a certificate, and with one that cannot be read'],
      [
        tls,
        'an mTLS server refuses a client without a certificate, and one that the authorizer does not allow',
      ],
    ],
  },
  {
    input: 'a TLS peer of the library: thousands of intermediates, or many issuers of one name',
    verdict: 'refused within a second, rule `chain`',
    tests: [[peers, 'a chain with thousands of issuers, or hundreds of paths, is refused quickly']],
  },
  {
    input: 'a TLS peer of the library: the right chain, but an ID that is not authorized',
    verdict: 'refused, rule `authorizer`',
    tests: [
      [
        tls,
        'an mTLS server refuses a client without a certificate, and one that the authorizer does not allow',
      ],
    ],
  },
  {
    input: 'a TLS peer of the library: a session that it wants to resume',
    verdict: 'a full handshake',
    tests: [
      [tls, 'an mTLS server resumes no session of OpenSSL: -tls1_3'],
      [tls, 'an mTLS server resumes no session of OpenSSL: -tls1_2'],
      [tls, 'a TLS client resumes no session, so that the server is verified at each connection'],
    ],
  },
  {
    input: 'in a program with the library: no authorizer, or a predicate that throws or gives a promise',
    verdict: 'no start; no peer is accepted',
    tests: [
      [peers, 'there is no default authorizer that accepts every peer'],
      [peers, 'an authorizer decides by the whole SPIFFE ID: a predicate that throws'],
      [peers, 'an authorizer decides by the whole SPIFFE ID: a predicate that gives a promise'],
      [tls, 'a TLS client cannot be made without an authorizer, or without bundles that verify servers'],
    ],
  },
  {
    input: 'in a program with the library: TLS options that were changed so that clients show no certificate',
    verdict: 'no peer is accepted',
    tests: [
      [
        tls,
        'an mTLS server accepts no client if its options were changed so that clients show no certificate',
      ],
    ],
  },
  {
    input:
      'to the library: a bundle document that is blank, truncated, with a name twice, or with a private key',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [tokens, 'a BundleSource is not opened with a file that has only white space'],
      [tokens, 'a BundleSource is not opened with a document that is cut off'],
      [tokens, 'a BundleSource is not opened with a document with a name twice'],
      [tokens, 'a BundleSource is not opened with a document with a private key'],
    ],
  },
  {
    input: 'to the library: the file of a bundle that becomes empty, since its ClusterTrustBundle is gone',
    verdict: 'the trust domain is not trusted any more',
    tests: [[tokens, 'a BundleSource gives the bundle of a trust domain as long as its file is not empty']],
  },
  {
    input: 'a Bearer token to the fastify plugin: none, or none of a known form',
    verdict: '401',
    tests: [
      [tokens, 'the fastify plugin answers 401 without a token, and to any credential but a Bearer token'],
    ],
  },
  {
    input:
      'a JWT-SVID to the library: too long, expired, for another audience, without signature, or with alg none',
    verdict: 'refused',
    tests: [
      [tokens, 'validateJwtSvid refuses a token of 100 KB'],
      [tokens, 'validateJwtSvid refuses an expired token'],
      [tokens, 'validateJwtSvid refuses a token for another audience'],
      [tokens, 'validateJwtSvid refuses a token without a signature'],
      [tokens, 'validateJwtSvid refuses a token with alg none'],
    ],
  },
  {
    input: 'a JWT-SVID to the library: of one trust domain, signed by another',
    verdict: 'refused',
    tests: [
      [tokens, 'validateJwtSvid refuses a token that another trust domain signed'],
      [tokens, 'validateJwtSvid refuses our token for the ID of another trust domain'],
    ],
  },
  {
    input: 'a Bearer token with line breaks and quotes in its claims',
    verdict: '401',
    tests: [
      [
        tokens,
        'the fastify plugin answers 401 to an invalid token, with a header that its content cannot break',
      ],
    ],
  },
  {
    input: 'a token endpoint that is down, answers with garbage, or with a token for another audience',
    verdict: 'the known token until it expires, then none',
    tests: [
      [tokens, 'a JwtSource gives the known token while no new one is available, until it expires'],
      [tokens, 'a JwtSource reports an endpoint that is down'],
      [tokens, 'a JwtSource does not use a token for another audience, and asks again'],
      [tokens, 'a JwtSource does not use a list as a token, and asks again'],
    ],
  },
  {
    input: 'a token endpoint that a federated trust domain answers for',
    verdict: 'no credential is sent to it',
    tests: [[tokens, 'a JwtSource does not send its credential to an endpoint of a federated trust domain']],
  },
  {
    input: 'to the library: a clock that is set back or far ahead while it has a token',
    verdict: 'a new token',
    tests: [[tokens, 'a JwtSource requests a new token when the clock was set back, or far ahead']],
  },
  {
    input:
      'to the library: an address of a Workload API that is missing, relative, too long, or on the network',
    verdict: 'the library does not start with it',
    tests: [
      [socket, 'a source refuses an address of the Workload API: none'],
      [socket, 'a source refuses an address of the Workload API: a relative path'],
      [socket, 'a source refuses an address of the Workload API: a path that is too long'],
      [socket, 'a source refuses an address of the Workload API: an address on the network'],
    ],
  },
  {
    input: 'at the socket of a Workload API: nothing, another server, or one that never answers',
    verdict: 'the library does not start with it, and keeps the last good values',
    tests: [
      [socket, 'an X509Source on a Workload API does not open if there is no socket'],
      [socket, 'an X509Source on a Workload API does not open if a server listens that does not speak HTTP'],
      [socket, 'an X509Source on a Workload API does not open if an HTTP/1.1 server listens'],
      [socket, 'an X509Source on a Workload API does not open if a web server listens'],
      [socket, 'an X509Source on a Workload API does not open if a server listens that never answers'],
      [
        socket,
        'an X509Source keeps the last good certificate while there is no Workload API, and reports it once',
      ],
    ],
  },
  {
    input: 'a Workload API that starts late, restarts, or breaks a stream',
    verdict: 'the library connects again',
    tests: [
      [socket, 'an X509Source waits for a Workload API that starts later, and for an identity'],
      [
        socket,
        'an X509Source survives a restart of the Workload API without a problem, and takes new certificates',
      ],
      [socket, 'an X509Source on a Workload API does not open if the stream ends without a status'],
    ],
  },
  {
    input: 'a Workload API that refuses a call as invalid',
    verdict: 'the library does not start, and does not call it again',
    tests: [
      [socket, 'an X509Source does not open if its call is refused as invalid, and does not try again'],
    ],
  },
  {
    input: 'a Workload API that withdraws the identity of the workload',
    verdict: 'the last good certificate stays in use',
    tests: [
      [
        socket,
        'an X509Source keeps the last good certificate when the workload loses its identity, and reports it',
      ],
    ],
  },
  {
    input: 'a response of a Workload API: garbage, compressed, cut off, or one that claims to have 4 GB',
    verdict: 'the library does not start with it, and keeps the last good values',
    tests: [
      [socket, 'an X509Source on a Workload API does not open if the response is not protobuf'],
      [socket, 'an X509Source on a Workload API does not open if the response is compressed'],
      [socket, 'an X509Source on a Workload API does not open if the response is cut off'],
      [socket, 'an X509Source on a Workload API does not open if the response says that it is 4 GB long'],
    ],
  },
  {
    input:
      'a response of a Workload API: no SVID, a chain that is not DER, or the key of another certificate',
    verdict: 'the library does not start with it, and keeps the last good one',
    tests: [
      [socket, 'an X509Source on a Workload API does not open if the response has no identity'],
      [socket, 'an X509Source on a Workload API does not open if the chain is not DER'],
      [socket, 'an X509Source on a Workload API does not open if the key is that of another certificate'],
      [
        socket,
        'a response that cannot be used leaves the last good certificate in use, until the next good one',
      ],
    ],
  },
  {
    input: 'a response of a Workload API: one federated bundle that cannot be read',
    verdict: 'its last good one stays in use, and the rest of the response is used',
    tests: [[socket, 'an invalid federated bundle in a response does not delay a new certificate']],
  },
  {
    input: 'a response of a Workload API: our roots as those of a federated trust domain',
    verdict: 'they do not count for it',
    tests: [
      [socket, 'a response cannot give the roots of a federated trust domain to ours, nor ours to another'],
    ],
  },
  {
    input: 'a file in place of the ServiceAccount token',
    verdict: 'it is not sent',
    tests: [[tokens, 'a JwtSource exchanges a ServiceAccount token, and reads its file each time']],
  },
  {
    input: 'from Envoy: a name that the workload does not have, an empty one, or one of 60,000 bytes',
    verdict: 'the stream ends, status `NOT_FOUND`',
    tests: [
      ...ofBothForms('refuses a name that the workload does not have, and lists the names that it has'),
      ...ofBothForms('refuses names that every object has, and huge ones, without repeating them'),
    ],
  },
  {
    input: 'from Envoy: a request for another type of resource',
    verdict: 'the stream ends, status `INVALID_ARGUMENT`',
    tests: ofBothForms('refuses a request for another type of resource'),
  },
  {
    input: 'from Envoy: the answer to an older response',
    verdict: 'it is ignored',
    tests: [[sds, 'StreamSecrets ignores the answer to an older response']],
  },
  {
    input: 'from Envoy: the rejection of a secret, many times',
    verdict: 'nothing is sent until the secret changes',
    tests: ofBothForms('reports once that Envoy rejects a secret, and sends the next one'),
  },
  {
    input: 'a client of SDS that never reads',
    verdict: 'it gets the newest secret only',
    tests: ofBothForms('sends only the newest secret to a client that does not read'),
  },
  {
    input: 'a client of SDS over TCP without the metadata `workload.spiffe.io: true`',
    verdict: 'the stream ends, status `INVALID_ARGUMENT`',
    tests: ofBothForms('needs the header over TCP, where Unix permissions do not protect it'),
  },
  {
    input: 'a federated trust domain whose roots are no longer known, while Envoy has them',
    verdict: 'the stream ends, status `NOT_FOUND`',
    tests: ofBothForms('ends the stream when a trust domain is no longer known'),
  },
];
