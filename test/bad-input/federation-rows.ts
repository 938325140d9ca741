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
  [resource, `accepts what is right, and says what is wrong: ${what}`],
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
    ['a foreign bundle that is empty', 'refuses nothing'],
    ['a web page in place of a foreign bundle', 'refuses a web page'],
    ['a foreign bundle that is a list', 'refuses a list'],
    ['a foreign bundle with a byte order mark', 'refuses a byte order mark'],
    ['a foreign bundle that is not UTF-8, or compressed', 'refuses bytes that are not UTF-8', 'refuses gzip'],
    ['a foreign bundle of more than 1 MiB in a resource', 'refuses 1 MiB and a byte'],
    ['a foreign bundle with a name twice', 'refuses a name twice'],
    ['a foreign bundle without a list of keys', 'refuses no keys', 'refuses keys that are an object'],
    ['a key of a foreign bundle that is not an object', 'refuses a key that is a text'],
    [
      'a `spiffe_sequence` that is a text, negative, or 2^64',
      'refuses a sequence as text',
      'refuses a negative sequence',
      'refuses the sequence 2^64',
    ],
    ['a `spiffe_refresh_hint` of 1.5', 'refuses a refresh hint of 1.5'],
    ['a foreign JWT key without `kid`', 'refuses a JWT key without kid'],
    ['a foreign JWT key with a `kid` of more than 256 characters', 'refuses a kid of 257 characters'],
    [
      'foreign roots of more than 1 MiB of PEM',
      'refuses roots that do not fit into a ClusterTrustBundle, whose lines take more than one text',
    ],
    ['two foreign JWT keys with one `kid`', 'refuses two JWT keys with one kid'],
    ['a foreign bundle with the private half of a key', 'refuses the private half of a key'],
    ['a foreign JWT key of RSA 1024', 'refuses a JWT key of RSA 1024'],
    ['a foreign root of RSA 1024', 'refuses a root with a weak key'],
    [
      'a foreign bundle with more than 200 keys',
      'refuses 201 keys',
      'refuses thousands of keys before it parses any',
    ],
    [
      'a foreign root with the SPIFFE ID of another trust domain, or of a workload',
      'refuses a root of another trust domain, also of one that only begins alike',
    ],
    [
      'a foreign root that is not a CA, or whose key is not that of its certificate',
      'refuses a root that is not a CA, and one whose key is not that of the certificate',
    ],
  ]),
  ...rows(bundle, 'the bundle is taken without that key', [
    [
      'a foreign key with a `use` that is missing or unknown',
      'leaves out keys of an unknown use, and says so',
    ],
    ['a foreign root that has expired', 'leaves out an expired root, and says when it expired'],
    ['a foreign root on the curve P-224', 'ignores a root on the curve P-224, which no reader knows'],
    ['an `x5c` with two certificates', 'takes only the first certificate of x5c'],
  ]),
  ...rows(bundle, notTaken('BundleSequenceWentBack'), [
    [
      'a foreign bundle whose sequence is lower than before, or gone',
      'decides by sequence and roots: a lower sequence',
      'decides by sequence and roots: no sequence where there was one',
    ],
  ]),
  ...rows(bundle, notTaken('BundleWithoutRoots'), [
    [
      'a foreign bundle without roots, after one with roots',
      'decides by sequence and roots: no roots where there were some',
    ],
    [
      'a foreign bundle whose roots have all expired',
      'decides by sequence and roots: roots that have all expired',
      'decides by sequence and roots: roots that have all expired, as the first ones',
    ],
  ]),
  ...rows(bundle, notTaken('EndpointUnverifiable'), [
    [
      'a bootstrap bundle without a root, with a private key, with a leaf, or cut off',
      'is refused without a root, with a private key, with a leaf, or with too many roots',
    ],
  ]),
  ...rows(bundle, 'the bundle is taken', [
    [
      'an intermediate CA in place of a root',
      'takes a CA that another one has signed, as an anchor of its own',
    ],
  ]),
  ...rows(schedule, 'the bundle is taken', [
    [
      'a refresh hint of 0, or of 10 years',
      'a bundle is fetched as often as its publisher asks, within the bounds of the resource',
    ],
  ]),
  ...rows(fetching, unreachable, [
    ['an endpoint whose certificate is self-signed', 'whose certificate no root of the system has signed'],
    ['an endpoint whose certificate is of another host', 'whose certificate is of another name'],
    ['an endpoint whose web certificate has expired', 'whose web certificate has expired'],
    ['an endpoint with the SVID of another workload', 'with an SVID of another workload'],
    [
      'an endpoint with an SVID of another trust domain, such as our own',
      'with an SVID of another trust domain, such as our own, with any path',
    ],
    ['an endpoint whose SVID has expired', 'with an SVID that has expired'],
    [
      'an endpoint with an SVID where a web certificate is expected, or the other way round',
      'with a certificate of the web in place of an SVID',
      'with an SVID in place of a certificate of the web',
    ],
    ['an endpoint that demands a client certificate', 'that demands a client certificate'],
    [
      'an endpoint that speaks no TLS, or closes the connection',
      'that speaks no TLS',
      'that closes the connection at once',
    ],
    [
      'an endpoint that is not there, or whose name has no address',
      'that is not there',
      'whose name has no address',
    ],
    [
      'an endpoint at a loopback, link-local or metadata address, also by its name',
      'at an address of the machine itself, also by its name',
    ],
    ['an endpoint with TLS 1.1 alone', 'that speaks no newer TLS than 1.1, although it would answer'],
    [
      'an endpoint that sends a byte now and then',
      'ends after 30 s, also while a server sends a byte now and then',
    ],
    ['a redirect to another host or port', '302 to another host', '302 to another port'],
    ['a redirect to `http:` or `file:`', '307 to http', '301 to a file'],
    [
      'a redirect without end, without a target, or to what is not a URL',
      '302 to itself',
      '302 without a location',
      '302 to what is no URL',
    ],
    ['a redirect of an `https_spiffe` endpoint', 'follows redirects within the origin, over https_web alone'],
    ['304 to a request without an ETag', '304 to a request without an ETag'],
    ['429 with a `Retry-After` of a year', '429 with a Retry-After of a year'],
    ['another status than 200, also with a bundle', '204', '401', '500 with a bundle in it'],
    ['an answer of more than 1 MiB', 'of 1 MiB and a byte'],
    ['an answer of chunks without end', 'that sends chunks without end'],
    ['an answer that is cut off', 'that says that it is longer than it is'],
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
      'that is compressed is not unpacked, so that it cannot grow',
    ],
  ]),
  ...rows(contract, 'the bundle is not used', [
    [
      'a FederatedTrustDomain that is changed while its bundle is fetched',
      'does not use what it fetched for a resource that was changed meanwhile',
    ],
    [
      'a FederatedTrustDomain that is deleted while its bundle is fetched',
      'does not use what it fetched for a resource that was deleted meanwhile',
    ],
  ]),
  ...rows(resource, 'the bundle is fetched', [
    [
      'an endpoint URL whose host has letters outside of ASCII (IDN)',
      'connects to the ASCII form of a host with other letters, so that only DNS decides what it is',
    ],
  ]),
  ...rows(contract, 'nothing changes for others', [
    [
      '1,000 FederatedTrustDomains at once',
      'publishes 1,000 trust domains, and issues certificates meanwhile',
    ],
    [
      'an endpoint that sends a little and then hangs',
      'goes on with the others, and with issuance, while one endpoint hangs and another one lies',
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
  spec('a `clusterTrustBundle` that is a path', 'a ClusterTrustBundle that is no name'),
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
      'of another cluster of the same trust domain: one for another trust domain',
    ],
  ]),
  ...rows(contract, notTaken('BundleHasOwnAuthority'), [
    [
      'a FederatedTrustDomain with `peerOf: self` whose bundle is that of all clusters',
      'takes another cluster of its own trust domain into bundle and trust bundles, until the resource is deleted',
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
      'accepts what is right, and says what is wrong: a caBundle that is not PEM',
    ],
    [
      'a FederatedTrustDomain with a field of a later version',
      'says which field it does not know, since the field may restrict the others',
    ],
  ]),
  {
    input: 'a FederatedTrustDomain for the own trust domain',
    verdict: '[OwnTrustDomain](#owntrustdomain)',
    tests: [[contract, 'does not federate its own trust domain, and lets the first of two resources count']],
  },
  {
    input: 'two FederatedTrustDomains for one trust domain',
    verdict: '[TrustDomainConflict](#trustdomainconflict) for the later one',
    tests: [
      [
        resource,
        'the FederatedTrustDomain that was created first counts, or the first by name, in any order of arrival',
      ],
      [contract, 'does not federate its own trust domain, and lets the first of two resources count'],
    ],
  },
];
