import type { BadInput } from './rows.ts';

const bundle = 'federation/foreign-bundle.test.ts';
const fetching = 'federation/fetch-bundle.test.ts';
const attempt = 'federation/attempt.test.ts';
const lookup = 'client/host-lookup.test.ts';
const schedule = 'federation/schedule.test.ts';
const resource = 'federation/federated-trust-domain.test.ts';
const admission = 'manifests/admission.test.ts';
const contract = 'contract/federation.test.ts';

const notTaken = (reason: string) => `not taken: [${reason}](#${reason.toLowerCase()})`;
const malformed = notTaken('BundleMalformed');
const unreachable = notTaken('EndpointUnreachable');

const rows = (
  file: string,
  verdict: string,
  inputs: readonly (readonly [input: string, ...tests: string[]])[],
) =>
  inputs.map(([input, ...tests]): BadInput => ({ input, verdict, tests: tests.map((name) => [file, name]) }));

const oldAndNew = (what: string): BadInput['tests'] => [
  [admission, `the API server refuses a FederatedTrustDomain with ${what}`],
  [resource, `a FederatedTrustDomain is accepted or refused with a reason: ${what}`],
];
const spec = (input: string, ...whats: string[]): BadInput => ({
  input,
  verdict:
    'the API server refuses the resource; [FederationSpecInvalid](#federationspecinvalid) for an older one',
  tests: whats.flatMap(oldAndNew),
});

/** Bad bundles, endpoints and resources of other trust domains. */
export const federationBadInput: readonly BadInput[] = [
  ...rows(bundle, malformed, [
    ['a foreign bundle that is empty', 'a foreign bundle is refused with nothing'],
    ['a web page in place of a foreign bundle', 'a foreign bundle is refused with a web page'],
    ['a foreign bundle that is a list', 'a foreign bundle is refused with a list'],
    ['a foreign bundle with a byte order mark', 'a foreign bundle is refused with a byte order mark'],
    [
      'a foreign bundle that is not UTF-8, or compressed',
      'a foreign bundle is refused with bytes that are not UTF-8',
      'a foreign bundle is refused with gzip',
    ],
    [
      'a foreign bundle of more than 1 MiB in a resource',
      'a foreign bundle is refused with 1 MiB and a byte',
    ],
    ['a foreign bundle with a name twice', 'a foreign bundle is refused with a name twice'],
    [
      'a foreign bundle without a list of keys',
      'a foreign bundle is refused with no keys',
      'a foreign bundle is refused with keys that are an object',
    ],
    [
      'a key of a foreign bundle that is not an object',
      'a foreign bundle is refused with a key that is a text',
    ],
    [
      'a `spiffe_sequence` that is a text, negative, or 2^64',
      'a foreign bundle is refused with a sequence as text',
      'a foreign bundle is refused with a negative sequence',
      'a foreign bundle is refused with the sequence 2^64',
    ],
    ['a `spiffe_refresh_hint` of 1.5', 'a foreign bundle is refused with a refresh hint of 1.5'],
    ['a foreign JWT key without `kid`', 'a foreign bundle is refused with a JWT key without kid'],
    [
      'a foreign JWT key with a `kid` of more than 256 characters',
      'a foreign bundle is refused with a kid of 257 characters',
    ],
    [
      'foreign roots of more than 1 MiB of PEM',
      'roots that do not fit into a ClusterTrustBundle are refused, whose lines take more than one text',
    ],
    ['two foreign JWT keys with one `kid`', 'a foreign bundle is refused with two JWT keys with one kid'],
    [
      'a foreign bundle with the private half of a key',
      'a foreign bundle is refused with the private half of a key',
    ],
    ['a foreign JWT key of RSA 1024', 'a foreign bundle is refused with a JWT key of RSA 1024'],
    ['a foreign root of RSA 1024', 'a root with a weak key is refused'],
    [
      'a foreign bundle with more than 200 keys',
      'a foreign bundle is refused with 201 keys',
      'a foreign bundle is refused with thousands of keys before it parses any',
    ],
    [
      'a foreign root with the SPIFFE ID of another trust domain, or of a workload',
      'a root of another trust domain is refused, also if only the beginning of the name is the same',
    ],
    [
      'a foreign root that is not a CA, or whose key is not that of its certificate',
      'a root that is not a CA is refused, and one whose key is not that of the certificate',
    ],
  ]),
  ...rows(bundle, 'the bundle is taken without that key', [
    [
      'a foreign key with a `use` that is missing or unknown',
      'a foreign bundle is read without keys of an unknown use, which are reported',
    ],
    [
      'a foreign root that has expired',
      'a foreign bundle is read without an expired root, and its expiry is reported',
    ],
    [
      'a foreign root on the curve P-224',
      'a root on the curve P-224 is ignored, because readers do not know it',
    ],
    ['an `x5c` with two certificates', 'only the first certificate of x5c is used'],
  ]),
  ...rows(bundle, notTaken('BundleSequenceWentBack'), [
    [
      'a foreign bundle whose sequence is lower than before, or gone',
      'a bundle replaces the held one or not, by sequence and roots: a lower sequence',
      'a bundle replaces the held one or not, by sequence and roots: no sequence where there was one',
    ],
  ]),
  ...rows(bundle, notTaken('BundleWithoutRoots'), [
    [
      'a foreign bundle without roots, after one with roots',
      'a bundle replaces the held one or not, by sequence and roots: no roots where there were some',
    ],
    [
      'a foreign bundle whose roots have all expired',
      'a bundle replaces the held one or not, by sequence and roots: roots that have all expired',
      'a bundle replaces the held one or not, by sequence and roots: roots that have all expired, as the first ones',
    ],
  ]),
  ...rows(bundle, notTaken('EndpointUnverifiable'), [
    [
      'a bootstrap bundle without a root, with a private key, with a leaf, or cut off',
      'a bootstrap bundle is refused without a root, with a private key, a leaf, or too many roots',
    ],
  ]),
  ...rows(bundle, 'the bundle is taken', [
    [
      'an intermediate CA in place of a root',
      'a CA in a foreign bundle that another one has signed is an anchor of its own',
    ],
  ]),
  ...rows(schedule, 'the bundle is taken', [
    [
      'a refresh hint of 0, or of 10 years',
      'a bundle is fetched as often as its publisher asks, within the bounds of the resource',
    ],
  ]),
  ...rows(fetching, unreachable, [
    [
      'an endpoint whose certificate is self-signed',
      'a server is refused if no root of the system has signed its certificate',
    ],
    [
      'an endpoint whose certificate is of another host',
      'a server is refused with a certificate for another name',
    ],
    ['an endpoint whose web certificate has expired', 'a server is refused with an expired web certificate'],
    ['an endpoint with the SVID of another workload', 'a server is refused with an SVID of another workload'],
    [
      'an endpoint with an SVID of another trust domain, such as our own',
      'a server is refused with an SVID of another trust domain, such as our own, with any path',
    ],
    ['an endpoint whose SVID has expired', 'a server is refused with an expired SVID'],
    [
      'an endpoint with an SVID where a web certificate is expected, or the other way round',
      'a server is refused with a web certificate instead of an SVID',
      'a server is refused with an SVID instead of a web certificate',
    ],
    [
      'an endpoint that demands a client certificate',
      'a server that requires a client certificate is refused',
    ],
    [
      'an endpoint that speaks no TLS, or closes the connection',
      'a server without TLS is refused',
      'a server that closes the connection at once is refused',
    ],
    [
      'an endpoint that does not exist, or whose name has no address',
      'a server that does not exist is refused',
      'a server whose name has no address is refused',
    ],
    [
      'an endpoint at a loopback, link-local or metadata address, also by its name',
      'a server at an address of the machine itself is refused, also by its name',
    ],
    [
      'an endpoint with TLS 1.1 alone',
      'a server with no newer TLS than 1.1 is refused, although it would answer',
    ],
    [
      'an endpoint that sends a byte now and then',
      'fetching a foreign bundle ends after 30 s, also while a server sends a byte now and then',
    ],
    [
      'a redirect to another host or port',
      'an answer of the server is refused: 302 to another host',
      'an answer of the server is refused: 302 to another port',
    ],
    [
      'a redirect to `http:` or `file:`',
      'an answer of the server is refused: 307 to http',
      'an answer of the server is refused: 301 to a file',
    ],
    [
      'a redirect without end, without a target, or to what is not a URL',
      'an answer of the server is refused: 302 to itself',
      'an answer of the server is refused: 302 without a location',
      'an answer of the server is refused: 302 to a text that is not a URL',
    ],
    [
      'a redirect of an `https_spiffe` endpoint',
      'fetching a foreign bundle follows redirects within the origin, only over https_web',
    ],
    [
      '304 to a request without an ETag',
      'an answer of the server is refused: 304 to a request without an ETag',
    ],
    [
      '429 with a `Retry-After` of a year',
      'an answer of the server is refused: 429 with a Retry-After of a year',
    ],
    [
      'another status than 200, also with a bundle',
      'an answer of the server is refused: 204',
      'an answer of the server is refused: 401',
      'an answer of the server is refused: 500 with a bundle in it',
    ],
    ['an answer of more than 1 MiB', 'an answer of the server is refused: 1 MiB and a byte'],
    ['an answer of chunks without end', 'an answer of endless chunks is refused'],
    ['an answer that is cut off', 'an answer of the server is refused: fewer bytes than its Content-Length'],
  ]),
  ...rows(lookup, unreachable, [
    ['a name server that leads to a metadata service', 'a lookup gives a request no address that is refused'],
    [
      'a hundred name servers that never answer',
      'a lookup is not delayed by a hundred other hosts whose name servers never answer',
    ],
  ]),
  ...rows(attempt, notTaken('EndpointUnverifiable'), [
    [
      'an `endpointSPIFFEID` of our own trust domain, or of one whose bundle is not held',
      'an endpoint ID of our own trust domain is refused, although its roots are known',
      'an endpoint of another trust domain cannot be verified without a bundle of that trust domain',
    ],
  ]),
  ...rows(schedule, 'the bundle is taken', [
    [
      'a bundle with other keys at each fetch',
      'a bundle that changes again and again is fetched less often: ten changes, then one in ten minutes',
    ],
  ]),
  ...rows(fetching, malformed, [
    [
      'a compressed answer that would grow to gigabytes',
      'a compressed answer is not unpacked, so that it cannot grow',
    ],
  ]),
  ...rows(contract, 'the bundle is not used', [
    [
      'a FederatedTrustDomain that is changed while its bundle is fetched',
      'a fetched bundle is not used if its resource was changed meanwhile',
    ],
    [
      'a FederatedTrustDomain that is deleted while its bundle is fetched',
      'a fetched bundle is not used if its resource was deleted meanwhile',
    ],
  ]),
  ...rows(resource, 'the bundle is fetched', [
    [
      'an endpoint URL whose host has letters outside of ASCII (IDN)',
      'a host with other letters is connected by its ASCII form, so that only DNS decides what it is',
    ],
  ]),
  ...rows(contract, 'nothing changes for others', [
    [
      '1,000 FederatedTrustDomains at once',
      'the signer publishes 1,000 trust domains, and issues certificates meanwhile',
    ],
    [
      'an endpoint that sends a little and then hangs',
      'the signer serves other peers and issues while one endpoint hangs and another one sends a wrong bundle',
    ],
  ]),
  spec(
    'a FederatedTrustDomain without trust domain, or with one that is not a name',
    'no trust domain',
    'a trust domain with capitals',
    'a trust domain of 256 characters',
  ),
  spec('a FederatedTrustDomain with no source, or with two', 'no source', 'two sources'),
  spec(
    'an endpoint URL with `http:`, `file:` or no scheme',
    'a URL with the scheme http',
    'a URL with the scheme file',
    'a URL with no scheme',
  ),
  spec(
    'an endpoint URL with a user, a fragment, or port 0',
    'a URL with a user and a password',
    'a URL with a fragment',
    'a URL with port 0',
  ),
  spec(
    'an `endpointSPIFFEID` that is missing, not allowed, not a SPIFFE ID, or without a path',
    'https_spiffe without endpointSPIFFEID',
    'https_web with endpointSPIFFEID',
    'an endpointSPIFFEID that is not a SPIFFE ID',
    'an endpointSPIFFEID without a path',
  ),
  spec('a `clusterTrustBundle` that is a path', 'a ClusterTrustBundle that is not a name'),
  spec(
    'an endpoint of its own trust domain without `bootstrapBundle`',
    'an endpoint of the trust domain itself without a bootstrapBundle',
  ),
  spec(
    'bounds of `refreshHint` that are too short, too long, or no durations',
    'a refreshHint below 30s',
    'a refreshHint above 24h',
    'a refreshHint without a unit',
  ),
  ...rows(schedule, '[FederationSpecInvalid](#federationspecinvalid)', [
    [
      'a FederatedTrustDomain with `peerOf: self` for another trust domain',
      'a resource for another cluster of the same trust domain: one for another trust domain',
    ],
  ]),
  ...rows(contract, notTaken('BundleHasOwnAuthority'), [
    [
      'a FederatedTrustDomain with `peerOf: self` whose bundle is that of all clusters',
      'another cluster of the trust domain is in bundle and trust bundles, until its resource is deleted',
    ],
  ]),
  ...rows(attempt, notTaken('BundleHasOwnAuthority'), [
    [
      'our own bundle under the name of another trust domain',
      'a foreign bundle with a JWT key of ours is refused',
      'a foreign bundle with a CA of ours is refused',
    ],
  ]),
  spec('a `peerOf` other than `self`', 'a peer of something else than the signer itself'),
  ...rows(resource, '[FederationSpecInvalid](#federationspecinvalid)', [
    [
      'a `caBundle` that is not PEM',
      'a FederatedTrustDomain is accepted or refused with a reason: a caBundle that is not PEM',
    ],
    [
      'a FederatedTrustDomain with a field of a later version',
      'a FederatedTrustDomain with an unknown field is refused by name, because it may restrict others',
    ],
  ]),
  {
    input: 'a FederatedTrustDomain for the own trust domain',
    verdict: '[OwnTrustDomain](#owntrustdomain)',
    tests: [
      [contract, 'the signer does not federate its own trust domain, and uses the first of two resources'],
    ],
  },
  {
    input: 'two FederatedTrustDomains for one trust domain',
    verdict: '[TrustDomainConflict](#trustdomainconflict) for the later one',
    tests: [
      [
        resource,
        'the FederatedTrustDomain that was created first counts, or the first by name, in any order of arrival',
      ],
      [contract, 'the signer does not federate its own trust domain, and uses the first of two resources'],
    ],
  },
];
