import type { BadInput } from './rows.ts';

const server = 'workload/api/server.test.ts';
const hostile = 'workload/api/hostile-clients.test.ts';
const sidecar = 'workload/api/sidecar.test.ts';

/** Bad input to the Workload API: of clients, of the token endpoint behind it, and of its command line. */
export const workloadApiBadInput: readonly BadInput[] = [
  {
    input:
      'to the Workload API: the metadata `workload.spiffe.io: true` missing, doubled, or in another case',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'FetchX509SVID needs the header exactly once and in lower case'],
      [server, 'FetchX509Bundles needs the header exactly once and in lower case'],
      [server, 'FetchJWTSVID needs the header exactly once and in lower case'],
      [server, 'FetchJWTBundles needs the header exactly once and in lower case'],
      [server, 'ValidateJWTSVID needs the header exactly once and in lower case'],
    ],
  },
  {
    input: 'to the Workload API: a call over TCP on loopback without this metadata',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[hostile, 'a client that connects over TCP needs the header too']],
  },
  {
    input: 'to the Workload API: a call before the credentials are read',
    verdict: 'refused, status `UNAVAILABLE`',
    tests: [
      [server, 'FetchX509SVID is unavailable until the credentials are read'],
      [server, 'FetchX509Bundles is unavailable until the credentials are read'],
      [server, 'FetchJWTSVID is unavailable until the credentials are read'],
      [server, 'FetchJWTBundles is unavailable until the credentials are read'],
      [server, 'ValidateJWTSVID is unavailable until the credentials are read'],
    ],
  },
  {
    input: 'to the Workload API: a call of a workload without an identity',
    verdict: 'refused, status `PERMISSION_DENIED`',
    tests: [
      [server, 'FetchX509SVID is denied to a workload without an identity'],
      [server, 'FetchX509Bundles is denied to a workload without an identity'],
      [server, 'FetchJWTSVID is denied to a workload without an identity'],
      [server, 'FetchJWTBundles is denied to a workload without an identity'],
    ],
  },
  {
    input: 'to the Workload API: a method that is not implemented',
    verdict: 'refused, status `UNIMPLEMENTED`',
    tests: [[hostile, 'a client that calls an unknown method is refused']],
  },
  {
    input: 'to the Workload API: a message that is not protobuf',
    verdict: 'refused, status `INTERNAL`',
    tests: [
      [hostile, 'a client that sends a message that is not protobuf is refused, and others are served'],
    ],
  },
  {
    input: 'to the Workload API: a field of the wrong type in a request, or one that is longer than it',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [hostile, 'a client that sends a field of the wrong type is refused, and others are served'],
      [
        hostile,
        'a client that sends a field that is longer than its message is refused, and others are served',
      ],
    ],
  },
  {
    input: 'to the Workload API: a request that claims to have 4 GB',
    verdict: 'refused, status `RESOURCE_EXHAUSTED`',
    tests: [
      [
        hostile,
        'a client that sends a message that claims a length of 4 GB is refused, and others are served',
      ],
    ],
  },
  {
    input: 'to the Workload API: a request of more than 256 KiB',
    verdict: 'refused, status `RESOURCE_EXHAUSTED`',
    tests: [[server, 'FetchJWTSVID refuses a huge request']],
  },
  {
    input: 'to the Workload API: a request with a broken compression',
    verdict: 'refused, status `INTERNAL`',
    tests: [
      [
        hostile,
        'a client that sends a message that is marked as compressed and is not is refused, and others are served',
      ],
    ],
  },
  {
    input: 'to the Workload API: a request with an unknown compression',
    verdict: 'refused, status `UNIMPLEMENTED`',
    tests: [[hostile, 'a client that sends an unknown compression is refused, and others are served']],
  },
  {
    input: 'to the Workload API: a call with no message, half a message, or two',
    verdict: 'refused, status `UNIMPLEMENTED`',
    tests: [
      [hostile, 'a client that sends no message is refused, and others are served'],
      [hostile, 'a client that sends half a message is refused, and others are served'],
      [hostile, 'a client that sends two messages is refused, and others are served'],
    ],
  },
  {
    input: 'to the Workload API: a call with another content type',
    verdict: 'refused, HTTP status 415',
    tests: [[hostile, 'a client that sends another content type is refused, and others are served']],
  },
  {
    input: 'to the Workload API: a call whose deadline cannot be read',
    verdict: 'refused, status `INTERNAL`',
    tests: [
      [hostile, 'a client that sends a deadline that is not a duration is refused, and others are served'],
    ],
  },
  {
    input: 'to the Workload API: HTTP/1.1 at the socket, as a web page speaks it',
    verdict: 'the connection is closed',
    tests: [
      [hostile, 'a client that speaks HTTP/1.1, as a web page does is disconnected, and others are served'],
    ],
  },
  {
    input: 'to the Workload API: TLS at the socket, or what only begins as HTTP/2',
    verdict: 'the connection is closed',
    tests: [
      [hostile, 'a client that speaks TLS is disconnected, and others are served'],
      [
        hostile,
        'a client that speaks the start of HTTP/2, and then something else is disconnected, and others are served',
      ],
    ],
  },
  {
    input: 'to the Workload API: 10,000 streams over one connection',
    verdict: '128 are served, others wait',
    tests: [
      [
        hostile,
        'a client that opens 10,000 streams delays no other, and gets only the allowed number of streams',
      ],
    ],
  },
  {
    input: 'to the Workload API: more streams over many connections than are allowed',
    verdict: 'refused, status `RESOURCE_EXHAUSTED`',
    tests: [[server, 'the Workload API limits open streams, and opens new ones after others end']],
  },
  {
    input: 'to the Workload API: a client that calls and cancels without end',
    verdict: 'the connection is closed',
    tests: [
      [
        hostile,
        'a client that calls and cancels a method without end is disconnected, and others are served',
      ],
      [
        hostile,
        'a client that calls and cancels a method without metadata without end is disconnected, and others are served',
      ],
      [
        hostile,
        'a client that calls and cancels an unknown method without end is disconnected, and others are served',
      ],
      [
        hostile,
        'a client that calls and cancels another content type without end is disconnected, and others are served',
      ],
    ],
  },
  {
    input: 'to the Workload API: a client that never reads its stream',
    verdict: 'it gets the newest state only',
    tests: [[server, 'the Workload API keeps only the newest state for a client that does not read']],
  },
  {
    input: 'to the Workload API: a workload that loses its identity while streams are open',
    verdict: 'they end, status `PERMISSION_DENIED`',
    tests: [[server, 'the Workload API ends the streams of a workload that loses its identity']],
  },
  {
    input: 'to the Workload API: FetchJWTSVID: no audience, or an empty one',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'FetchJWTSVID refuses no audience'],
      [server, 'FetchJWTSVID refuses an empty audience'],
    ],
  },
  {
    input: 'to the Workload API: FetchJWTSVID: more than 32 audiences',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[server, 'FetchJWTSVID refuses more audiences than are allowed']],
  },
  {
    input: 'to the Workload API: FetchJWTSVID: an audience that is not UTF-8',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[hostile, 'FetchJWTSVID refuses an audience that is not UTF-8']],
  },
  {
    input: 'to the Workload API: FetchJWTSVID: a `spiffe_id` that is not a SPIFFE ID',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[server, 'FetchJWTSVID refuses a SPIFFE ID that is not valid']],
  },
  {
    input: 'to the Workload API: FetchJWTSVID: the SPIFFE ID of another workload',
    verdict: 'refused, status `PERMISSION_DENIED`',
    tests: [[server, 'FetchJWTSVID refuses the SPIFFE ID of another workload']],
  },
  {
    input:
      'to the Workload API: FetchJWTSVID: the SPIFFE ID of the certificate, after its registration has changed to another name',
    verdict: 'refused, status `PERMISSION_DENIED`',
    tests: [
      [
        'workload/api/workload-source.test.ts',
        'FetchJWTSVID gives the new name as soon as tokens have it, and not a token with it for the old name',
      ],
    ],
  },
  {
    input: 'behind the Workload API: a token endpoint that hangs up, redirects, or answers with an error',
    verdict: 'FetchJWTSVID is refused, status `UNAVAILABLE`; other methods continue',
    tests: [
      [hostile, 'a token endpoint that hangs up makes FetchJWTSVID unavailable, and no other method'],
      [hostile, 'a token endpoint that redirects makes FetchJWTSVID unavailable, and no other method'],
      [
        hostile,
        'a token endpoint that answers with status 500 makes FetchJWTSVID unavailable, and no other method',
      ],
    ],
  },
  {
    input: 'behind the Workload API: a token endpoint that answers with garbage, or with no token',
    verdict: 'FetchJWTSVID is refused, status `UNAVAILABLE`; other methods continue',
    tests: [
      [
        hostile,
        'a token endpoint that answers with garbage makes FetchJWTSVID unavailable, and no other method',
      ],
      [hostile, 'a token endpoint that gives no token makes FetchJWTSVID unavailable, and no other method'],
      [
        hostile,
        'a token endpoint that gives a text that is not a token makes FetchJWTSVID unavailable, and no other method',
      ],
    ],
  },
  {
    input:
      'behind the Workload API: a token endpoint that gives a token for another audience, or an expired one',
    verdict: 'FetchJWTSVID is refused, status `UNAVAILABLE`; other methods continue',
    tests: [
      [
        hostile,
        'a token endpoint that gives a token for another audience makes FetchJWTSVID unavailable, and no other method',
      ],
      [
        hostile,
        'a token endpoint that gives a token that has expired makes FetchJWTSVID unavailable, and no other method',
      ],
    ],
  },
  {
    input: 'behind the Workload API: a token endpoint that never answers',
    verdict: 'callers of FetchJWTSVID wait up to 15 s; other methods continue',
    tests: [
      [
        hostile,
        'a token endpoint that never answers delays only callers of FetchJWTSVID, until their deadline',
      ],
    ],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: no audience, or no token',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'ValidateJWTSVID refuses no audience'],
      [server, 'ValidateJWTSVID refuses no token'],
    ],
  },
  {
    input:
      'to the Workload API: ValidateJWTSVID: text that is not a token, or a token in the JSON serialization',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'ValidateJWTSVID refuses what is not a token'],
      [hostile, 'ValidateJWTSVID refuses a token in the JSON serialization'],
    ],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: a token of more than 16,384 characters',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[server, 'ValidateJWTSVID refuses a token that is too long']],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: a token for another audience, or an expired one',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'ValidateJWTSVID refuses a token for another audience'],
      [server, 'ValidateJWTSVID refuses an expired token'],
    ],
  },
  {
    input:
      'to the Workload API: ValidateJWTSVID: a token with alg none, or with HS256 and the public key as its secret',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [hostile, 'ValidateJWTSVID refuses a token without a signature and with alg none'],
      [hostile, 'ValidateJWTSVID refuses a token that the public key signed by HS256'],
    ],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: a token with a name twice in its header',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[hostile, 'ValidateJWTSVID refuses a token with a name twice']],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: a token whose `sub` is not a SPIFFE ID',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [hostile, 'ValidateJWTSVID refuses a token whose sub is a path'],
      [hostile, 'ValidateJWTSVID refuses a token whose sub has a parent folder in it'],
    ],
  },
  {
    input:
      'to the Workload API: ValidateJWTSVID: a token of an unknown trust domain, or of one that another signed',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [
      [server, 'ValidateJWTSVID refuses a token of a trust domain without a bundle'],
      [server, 'ValidateJWTSVID refuses a name of one trust domain signed by another'],
    ],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: claims that nest deeper than 32 levels',
    verdict: 'refused, status `INVALID_ARGUMENT`',
    tests: [[hostile, 'ValidateJWTSVID refuses a token with claims that are nested 2,000 deep']],
  },
  {
    input: 'to the Workload API: ValidateJWTSVID: claims with the names `__proto__` and `constructor`',
    verdict: 'they are returned as claims',
    tests: [
      [
        hostile,
        'ValidateJWTSVID returns claims with strange names unchanged, in a form that every client reads',
      ],
    ],
  },
  {
    input: 'to the Workload API: a socket that a killed process left behind',
    verdict: 'it is replaced',
    tests: [[server, 'the socket of the Workload API replaces the one that a killed process left behind']],
  },
  {
    input: 'to the Workload API: a socket that another process serves, or a file in its place',
    verdict: 'the Workload API does not start, and leaves it',
    tests: [
      [server, 'the socket of the Workload API is not taken away from a process that serves it'],
      [server, 'the socket of the Workload API does not replace a file that is not a socket'],
    ],
  },
  {
    input: 'to the Workload API: a socket in a folder that does not exist',
    verdict: 'the Workload API does not start',
    tests: [[server, 'a socket of the Workload API that cannot be made is an error with the reason']],
  },
  {
    input: 'to the Workload API: --credentials of several identities without hints, or with the same one',
    verdict: 'the Workload API does not start',
    tests: [
      [sidecar, 'kubespiffe workload-api refuses several identities without hints'],
      [sidecar, 'kubespiffe workload-api refuses several identities with the same hint'],
    ],
  },
  {
    input: 'to the Workload API: --token without --token-endpoint, or an endpoint without TLS',
    verdict: 'the Workload API does not start',
    tests: [
      [sidecar, 'kubespiffe workload-api refuses a token without an endpoint'],
      [sidecar, 'kubespiffe workload-api refuses an endpoint without TLS'],
    ],
  },
  {
    input: 'to the Workload API: --bundle without a trust domain',
    verdict: 'the Workload API does not start',
    tests: [[sidecar, 'kubespiffe workload-api refuses a bundle without a trust domain']],
  },
  {
    input: 'to the Workload API: a volume that is not written yet',
    verdict: 'the socket does not exist until it is',
    tests: [
      [sidecar, 'kubespiffe workload-api waits for a volume that does not exist yet, and reports that once'],
    ],
  },
  {
    input: 'to the Workload API: a volume that breaks',
    verdict: 'the last good certificate is delivered',
    tests: [
      [
        sidecar,
        'kubespiffe workload-api keeps the last good certificate when the volume breaks, and reports that',
      ],
    ],
  },
];
