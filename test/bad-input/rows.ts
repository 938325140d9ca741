import type { Reason } from '../../signer/observe/reasons.ts';
import { authorityBadInput } from './authority-rows.ts';
import { federationBadInput } from './federation-rows.ts';
import { helperBadInput } from './helper-rows.ts';
import { keyRows } from './key-rows.ts';
import { registrationRows } from './registration-rows.ts';
import { serviceDnsRows } from './service-dns-rows.ts';
import { workloadApiBadInput } from './workload-api-rows.ts';
import { workloadBadInput } from './workload-rows.ts';

/** A test: file below test/, and its name as the runner prints it, without the suites around it. */
type TestReference = readonly [file: string, name: string];

/**
 * What comes of a bad input: the reasons of the decision, in the words of the table of reasons; or a sentence, where
 * no request is decided on.
 */
type Verdict = readonly Reason[] | string;

/** One kind of bad input to the signer, what must come of it, and what shows that it does. */
export interface BadInput {
  /** As the first column of `docs/reference/outcomes.md#bad-input` says it. */
  readonly input: string;
  readonly verdict: Verdict;
  readonly tests: readonly TestReference[];
}

const csr = 'spiffe/pki/csr.test.ts';
const spki = 'spiffe/pki/spki.test.ts';
const requests = 'contract/requests.test.ts';
const stalePods = 'contract/stale-pods.test.ts';
const sequence = 'contract/pool-sequence.test.ts';
const outage = 'contract/api-outage.test.ts';
const unguarded = 'contract/unguarded.test.ts';
const hostile = 'contract/hostile-requests.test.ts';
const fairness = 'contract/fairness.test.ts';
const controller = 'issuance/controller.test.ts';
const queue = 'kube/queue.test.ts';
const decide = 'issuance/decide.test.ts';

/** The pool Secret in the cluster. The name of each test ends with the problem. */
const pool = (...problems: readonly string[]): readonly TestReference[] =>
  problems.map((problem) => [
    'contract/pool.test.ts',
    `a signer waits, is not ready, names field and remedy, and keeps the roots when the pool ${problem}`,
  ]);

/** The one table of bad input. The documentation has the same rows, and bad-input.test.ts holds them to the tests. */
export const badInput: readonly BadInput[] = [
  {
    input:
      'a key type that the signer does not serve; an RSA key of 2048 or 3070 bits, or with exponent 1 or 3',
    verdict: ['UnsupportedKeyType'],
    tests: [
      ...['exponent 3', 'a modulus of 3070 bits'].map(
        (name): TestReference => [
          requests,
          `the signer denies an RSA key with ${name}, which the API server accepts, and names the served types`,
        ],
      ),
      [decide, 'the decision denies a readable key of an algorithm that we do not know'],
      [csr, 'an unsupported key inside a valid request is unsupported, not unreadable'],
      [spki, 'RSA 2048 can be read and is not supported'],
      [spki, 'RSA 3072 with exponent 1 can be read and is not supported'],
      [spki, 'ECDSA 1.2.3.4 can be read and is not supported'],
      [spki, '1.3.6.1.4.1.99999.1 can be read and is not supported'],
    ],
  },
  {
    input: "`userAnnotations` in the pod's source that the signer does not know",
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [
      [requests, 'the signer denies an annotation key, and the condition names it and what to do'],
      [decide, 'the decision denies an annotation key'],
      [
        hostile,
        '256 KiB of annotations in a request are denied by one key, and nothing of the values is repeated',
      ],
    ],
  },
  {
    input:
      'annotations of the pod itself that `podAnnotations` does not name, 256 KiB of them, with names and expansions in them',
    verdict: ['Issued'],
    tests: [[hostile, '256 KiB of annotations on a pod, with names and expansions in them, change nothing']],
  },
  {
    input: "the signer's name in another case",
    verdict: 'the API server refuses the pod',
    tests: [
      [
        'manifests/base.test.ts',
        'a pod that writes the signer’s name in another case is refused at once, not left waiting',
      ],
      [requests, 'the API server refuses the name of the signer in another case'],
    ],
  },
  {
    input: 'the name of another signer',
    verdict: 'not seen, not touched',
    tests: [[requests, 'the signer neither reads nor changes the requests of other signers']],
  },
  {
    input: 'a CSR with a subject, names, extensions or attributes',
    verdict: ['Issued'],
    tests: [
      [requests, 'the signer issues the same name for every PKCS#10 request of a pod, with any names in it'],
      ['property/csr.test.ts', 'only the ECDSA P-256 key of a request is used, with anything else in it'],
    ],
  },
  {
    input:
      'a CSR that is cut off, too long, not DER, or followed by something; a request with two keys or none',
    verdict: ['RequestUnreadable'],
    tests: [
      [csr, 'a request is unreadable: a truncated request'],
      [csr, 'a request is unreadable: a request longer than the API server allows'],
      [csr, 'a request is unreadable: an indefinite length'],
      [csr, 'a request is unreadable: trailing bytes'],
      [
        'issuance/request.test.ts',
        'the key of a request is unreadable, not unsupported, if the fields contradict each other',
      ],
      [decide, 'the decision waits, with an alarm, for a key that only we cannot read'],
      [decide, 'the decision does not deny an unreadable request for its annotations'],
    ],
  },
  {
    input: 'a request that was not made by a kubelet',
    verdict: 'refused by the admission policy',
    tests: [
      ['manifests/admission.test.ts', 'a ServiceAccount creates none in v1, and the refusal says who may'],
      [
        'manifests/admission.test.ts',
        'a ServiceAccount creates none in v1beta1, and the refusal says who may',
      ],
    ],
  },
  {
    input: 'a request for a pod that is gone, or that was replaced by a pod with the same name',
    verdict: ['PodGone', 'PodReplaced'],
    tests: [
      [requests, 'the signer drops the request of a pod that does not exist'],
      [requests, 'the signer drops the request of a pod whose name another pod has now'],
      [
        'kube/pods.test.ts',
        'the pod of a request is gone when the server reports that, with anything in the cache',
      ],
    ],
  },
  {
    input: "a request that names another node or ServiceAccount than the live pod's",
    verdict: ['NodeMismatch', 'ServiceAccountMismatch'],
    tests: [
      [
        requests,
        'the signer leaves a request open that claims another node, without an Event on the pod, audited and counted once',
      ],
      [
        requests,
        'the signer leaves a request open that claims another ServiceAccount, without an Event on the pod, audited and counted once',
      ],
    ],
  },
  {
    input: 'a pod that is being deleted',
    verdict: ['Issued'],
    tests: [[requests, 'the signer serves a pod that is terminating']],
  },
  {
    input: 'a pod that has finished',
    verdict: ['PodFinished'],
    tests: [
      [requests, 'the signer lets a finished pod wait'],
      [decide, 'the decision waits when the pod has failed'],
    ],
  },
  {
    input:
      "a pod that the signer's cache does not have yet, has without its node, or has only as an older pod of the same name",
    verdict: ['Issued'],
    tests: [
      ['issuance/consider.test.ts', 'the decision is "issue" for the predecessor of the pod in the cache'],
      ['issuance/consider.test.ts', 'the decision is "issue" for a pod without a node in the cache'],
      ['kube/pods.test.ts', 'the pod of a request is read when the cache has none'],
      [stalePods, 'the signer issues for the successor of a StatefulSet pod after one live look'],
      [stalePods, 'the signer issues for a pod that had no node yet, after one live look'],
      [stalePods, 'the signer issues for a pod that the cache does not have, after one live look'],
    ],
  },
  {
    input: 'names of namespace and ServiceAccount at their length limits (63 and 253 characters)',
    verdict: ['Issued'],
    tests: [
      [requests, 'the signer issues for names at their length limits'],
      [decide, 'the decision issues at the length limits of namespace, ServiceAccount and trust domain'],
    ],
  },
  {
    input: '`maxExpirationSeconds` of 3600, or of 91 days',
    verdict: ['Issued'],
    tests: [
      [requests, 'the signer issues within the limits for maxExpirationSeconds 3600'],
      [requests, 'the signer issues within the limits for maxExpirationSeconds 7862400'],
      [
        'issuance/validity.test.ts',
        'every validity passes the rules of the API server and stays inside the authority',
      ],
    ],
  },
  {
    input: 'a trust domain of 255 characters, or one that begins with `-`',
    verdict: ['Issued'],
    tests: [
      ['contract/trust-domains.test.ts', 'the signer and its readers work with a hyphen at either end'],
      ['contract/trust-domains.test.ts', 'the signer and its readers work with 255 characters'],
      ['config/load.test.ts', 'trust domains of 255 characters, or beginning with a hyphen, are accepted'],
      ['trust/labels.test.ts', 'a trust domain that is not a valid label is replaced by the documented hash'],
    ],
  },
  {
    input: 'a pool that is missing, empty or malformed, or has a state that is not known',
    verdict: ['PoolUnusable'],
    tests: pool(
      'is missing',
      'is empty',
      'is malformed',
      'has no authority',
      'has a state that is not known',
    ),
  },
  {
    input: 'a pool of another trust domain, or with a key that does not match',
    verdict: ['PoolUnusable'],
    tests: pool('is of another trust domain', 'has a key that does not match'),
  },
  {
    input: 'an older copy of the pool, or one with other roots or keys under the same sequence',
    verdict: ['PoolUnusable'],
    tests: [
      [
        sequence,
        'a pool with an older sequence is refused: the last good one stays published, and waiting pods get the remedy in an Event',
      ],
      [
        sequence,
        'a pool with an older sequence is refused by a replica that starts, and by all after all were restarted',
      ],
      [
        sequence,
        'a pool with other content under the same sequence is refused, and accepted with the sequence that the message names',
      ],
    ],
  },
  {
    input: 'a pool that does not name a root which is published',
    verdict: ['PoolUnusable'],
    tests: [[sequence, 'a new pool in place of a lost one loses no root']],
  },
  {
    input: 'a CA that has expired, or is not yet valid',
    verdict: ['PoolUnusable'],
    tests: pool('has expired', 'is not yet valid'),
  },
  {
    input: 'a CA that is made active before its root has reached every pod',
    verdict: ['RootTooNew'],
    tests: [
      [
        'contract/pool.test.ts',
        'a request waits until the time that its Event names when the new CA is active too soon',
      ],
    ],
  },
  {
    input: 'a CA with less than an hour left',
    verdict: ['AuthorityExpiring'],
    tests: pool('has under an hour left'),
  },
  {
    input: 'a CA whose name constraints do not permit a DNS name of the token endpoint',
    verdict: "the endpoint's certificate does not have this name",
    tests: [
      [
        'token/http/certificates.test.ts',
        "OpenSSL accepts the endpoint's certificate below a CA for .corp.example, with the names that it permits",
      ],
      [
        'token/http/listener.test.ts',
        'a listener serves without the names that its CA forbids, says so in readiness, and warns once',
      ],
    ],
  },
  ...keyRows,
  {
    input: 'a clock that is off',
    verdict: ['ClockSkew'],
    tests: ['160 s slow', '100 s fast'].map((skew) => [
      'contract/clock.test.ts',
      `the signer waits, is not ready and reports that its own clock is ${skew}`,
    ]),
  },
  {
    input: 'a request that was created before the admission policy was in force',
    verdict: ['CreatedUnguarded'],
    tests: [[unguarded, 'a request that was created without the policy stays unanswered once it is back']],
  },
  {
    input: 'an admission policy that is missing, or lets clients other than nodes create requests',
    verdict: ['RequestsUnguarded'],
    tests: [
      [unguarded, 'a signer answers nothing while the policy is missing, and reports that'],
      [
        unguarded,
        'a signer answers nothing while the policy or its binding lets clients other than nodes create requests',
      ],
    ],
  },
  {
    input: 'more than 64 open requests for one pod',
    verdict: ['TooManyOpenRequests'],
    tests: [
      [controller, 'a pod has 64 requests considered, and the next one when one of those is gone'],
      [controller, 'a pod with many open requests does not delay the certificate of another pod'],
      [controller, 'only requests with the facts of a pod count towards the limit of the pod'],
      [controller, 'only requests that are believed to come from a node count towards the limit of the pod'],
      [controller, 'requests that are not believed any more give their places back to the pod'],
    ],
  },
  {
    input: '10,000 requests of one namespace or one node, or a webhook that hangs for one namespace',
    verdict: ['Issued'],
    tests: [
      [
        fairness,
        'the request of one namespace is answered soon, although another one has thousands of earlier requests',
      ],
      [fairness, 'the request of one namespace is answered although a webhook never answers for another one'],
      [queue, 'a fair queue gives one namespace its turn after one key of another, also if that has many'],
      [
        queue,
        'a fair queue gives the nodes of a namespace their turns, and each node its keys in order of arrival',
      ],
    ],
  },
  {
    input: 'a missing permission',
    verdict: ['SignerForbidden'],
    tests: [
      ...['signers sign', 'podcertificaterequests/status patch'].map(
        (grant): TestReference => [
          'contract/missing-rights.test.ts',
          `the signer keeps a request open without "${grant}", reports that, and answers it once the rule is back`,
        ],
      ),
      [outage, 'the signer keeps requests that it may not answer, and answers them once it may'],
    ],
  },
  {
    input: 'an API server that is down, slow, or answers garbage',
    verdict: ['ApiUnavailable'],
    tests: [
      [
        outage,
        'the signer waits for an API server that is down at its start, and then answers the requests that exist',
      ],
      [outage, 'the signer answers through a slow API server'],
      [
        outage,
        'the signer answers after an API server sends garbage, also if the garbage looks like success',
      ],
    ],
  },
  {
    input: 'an API server that is killed (`kill -9`) in the middle of 500 requests',
    verdict: ['Issued'],
    tests: [
      [outage, 'the signer answers 500 requests although the API server is killed in the middle of them'],
    ],
  },
  {
    input: 'an API server without HTTP/2 (`--disable-http2-serving`)',
    verdict: 'not ready, nothing is answered',
    tests: [
      [
        'contract/kube.test.ts',
        'an API server without HTTP/2 is refused by the signer in log and readiness, and used by commands',
      ],
      [
        'kube/transport.test.ts',
        'a server without HTTP/2 is refused with what to do, and used once it has it',
      ],
    ],
  },
  {
    input: 'a kubeconfig whose server has no TLS, such as `kubectl proxy`',
    verdict: 'the signer does not start',
    tests: [
      [
        'contract/kubeconfig.test.ts',
        'commands use `kubectl proxy`, and a signer refuses it with the advice to use the API server itself',
      ],
    ],
  },
  {
    input: 'an etcd that was restored from a backup under running signers',
    verdict: ['Issued'],
    tests: [
      [
        outage,
        'the signer follows a restored etcd: no authority that was tainted since signs, and requests are answered',
      ],
      [
        'contract/pool-view.test.ts',
        'the view takes a pool from a restored etcd although its version is lower than one that was seen',
      ],
      [
        'contract/kube.test.ts',
        'the reflector follows etcd that was restored from a backup while watches are not answered',
      ],
    ],
  },
  ...serviceDnsRows,
  ...registrationRows,
  {
    input: 'a setting that does not exist, or has an invalid value',
    verdict: 'the signer does not start',
    tests: [
      ['config/load.test.ts', 'all problems of all sources are reported at once, each with its place'],
      ['config/load.test.ts', 'a wrong value is a problem even if another source overrides it'],
    ],
  },
  {
    input: 'pod-identity asked for another name by the annotation `kubespiffe.io/registration`',
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [['contract/pod-identity.test.ts', 'pod-identity denies a request that wants to choose its name']],
  },
  ...workloadBadInput,
  ...workloadApiBadInput,
  ...helperBadInput,
  ...federationBadInput,
  ...authorityBadInput,
];
