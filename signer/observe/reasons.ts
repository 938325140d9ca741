import { subjectKeyTypes } from '../../spiffe/pki/algorithms.ts';

/**
 * The table of outcomes of requests. A row is what the Event or condition, the metric, the audit line and the documentation
 * (docs/reference/outcomes.md has a heading for each code) have in common. What is refused at the token endpoint
 * (refusals.ts), and what comes of federation and rotation, has other columns, and so a table of its own.
 */

/** What was decided: Drop means that an answer is no longer expected. */
export type Verdict = 'issue' | 'deny' | 'wait' | 'drop';

/** Who has to act before the outcome can change. */
export type Owner =
  | 'nobody'
  | 'pod author'
  | 'owner of the registration'
  | 'cluster administrator'
  | 'kubespiffe';

export interface Outcome {
  readonly verdict: Verdict;
  /** Whether the outcome is shown on the pod by an Event. Mismatched facts are not: the pod may be a victim. */
  readonly event: boolean;
  /** In milliseconds: it normally passes by itself within this time, and the Event waits for that. */
  readonly passesWithinMs: number;
  /** Whether it counts as an alarm: something that only an attack, a bug or a broken installation causes. */
  readonly alarm: boolean;
  readonly owner: Owner;
  /** What the person reads; `{}` is replaced by the detail of the case. */
  readonly message: string;
}

/** Makes the rows of a verdict. @param event what its rows have unless they say otherwise. */
function rowsOf<V extends Verdict>(verdict: V, event: boolean) {
  const usual = { verdict, event, passesWithinMs: 0, alarm: false };
  return (owner: Owner, message: string, more: Partial<typeof usual> = {}) =>
    ({ ...usual, owner, message, ...more }) satisfies Outcome;
}
const issue = rowsOf('issue', false);
const deny = rowsOf('deny', true);
const wait = rowsOf('wait', true);
const drop = rowsOf('drop', false);

export const outcomes = {
  Issued: issue('nobody', 'Certificate issued for {}.'),

  UnsupportedKeyType: deny(
    'pod author',
    `The key is {}; this signer supports ${subjectKeyTypes.map(({ name }) => name).join(', ')}. Set keyType of the ` +
      `podCertificate source to one of ${subjectKeyTypes.map(({ kubernetes }) => kubernetes).join(', ')} and ` +
      'recreate the pod.',
  ),
  InvalidUnverifiedUserAnnotations: deny(
    'pod author',
    'The userAnnotations of the podCertificate source cannot be accepted: {}. Correct them and recreate the pod.',
  ),

  RequestUnreadable: wait(
    'kubespiffe',
    'The request cannot be read although the API server accepted it ({}). This is a bug in kubespiffe; please ' +
      'report it.',
    { alarm: true },
  ),
  KeyNotVisible: wait(
    'cluster administrator',
    'The request shows no public key in {}: it was made by a kubelet older than 1.36. Serve ' +
      'certificates.k8s.io/v1beta1 podcertificaterequests on the API server, or upgrade the node.',
  ),
  TooManyOpenRequests: wait(
    'cluster administrator',
    'The pod has too many open requests at the same time ({}). Find out who creates them: kubelet has one for each ' +
      'podCertificate source of a pod.',
    { event: false, alarm: true },
  ),
  PodNotVisible: wait('kubespiffe', 'The pod could not be looked up ({}); the signer tries again.'),
  IdentityNotKnown: wait('kubespiffe', 'The name of the pod is not known yet ({}); the signer tries again.', {
    passesWithinMs: 10_000,
  }),
  PodFinished: wait('nobody', 'The pod has finished ({}); it needs no certificate.', { event: false }),
  ServiceAccountMismatch: wait(
    'cluster administrator',
    'The request names another ServiceAccount than the live pod has ({}). Find out who created it: only ' +
      'kubelets should create PodCertificateRequests.',
    { event: false, alarm: true },
  ),
  NodeMismatch: wait(
    'cluster administrator',
    'The request names another node than the one the live pod runs on ({}). Find out who created it: only ' +
      'kubelets should create PodCertificateRequests.',
    { event: false, alarm: true },
  ),
  IdentityInvalid: wait(
    'owner of the registration',
    'No valid SPIFFE ID can be made for this pod ({}). Correct the registration that it names, or the names, labels and ' +
      'annotations of the pod.',
  ),
  NotRegistered: wait(
    'pod author',
    'No registration matches this pod, and this cluster gives identities only to registered pods ({}). Add the label ' +
      'that is missing, or create a WorkloadRegistration that selects the pod.',
  ),
  RegistrationAmbiguous: wait(
    'owner of the registration',
    'Several registrations of the same priority match this pod ({}). Give one of them a higher priority, let them ' +
      'select different pods, or name one in kubespiffe.io/registration of the userAnnotations of the podCertificate source.',
  ),
  RegistrationNotMatching: wait(
    'pod author',
    'The registration that kubespiffe.io/registration in the userAnnotations of the podCertificate source names cannot ' +
      'be used for this pod ({}). Correct the registration or the labels of the pod, or recreate the pod with another annotation.',
  ),
  NoService: wait(
    'pod author',
    'No Service selects the pod ({}), so it has no DNS name. Create a Service with a selector, or correct its selector ' +
      'or the labels of the pod.',
    { passesWithinMs: 10_000 },
  ),
  ServiceNotMatching: wait(
    'pod author',
    'A chosen Service does not select the pod ({}). Correct the selector of the Service or the labels of the pod, or ' +
      'correct kubespiffe.io/services in the userAnnotations of the podCertificate source and recreate the pod.',
    { passesWithinMs: 10_000 },
  ),
  TooManyNames: wait(
    'pod author',
    'The pod has too many DNS names ({}). Choose some of its Services with kubespiffe.io/services in the ' +
      'userAnnotations of the podCertificate source and recreate the pod.',
  ),
  NameNotPermitted: wait(
    'cluster administrator',
    'The name constraints of the signing CA do not permit a DNS name of the pod ({}), so clients would refuse the ' +
      'certificate. Make a CA active that permits the name, or choose other Services.',
  ),
  RequestsUnguarded: wait(
    'cluster administrator',
    'Clients other than nodes may create requests, so the signer answers no request ({}). Apply ' +
      'manifests/base/admission-policy.yaml of the version of this signer.',
    { alarm: true },
  ),
  CreatedUnguarded: wait(
    'cluster administrator',
    'The request was created before the admission policy was in force ({}), so it may not come from a node. Delete ' +
      'the request: kubelet creates a new one.',
  ),
  PoolUnusable: wait('cluster administrator', 'The CA pool cannot be used: {}'),
  KeyUnavailable: wait(
    'cluster administrator',
    'The key of the signing CA is kept outside of the pool and cannot be used now: {}',
  ),
  AuthorityExpiring: wait(
    'cluster administrator',
    'The signing CA expires in less than an hour, the minimum for a certificate ({}). Add a new CA and make it active.',
  ),
  RootTooNew: wait(
    'cluster administrator',
    'The root of the signing CA was published too recently; certificates are issued once every pod can have it: {}',
  ),
  TrustNotPublished: wait(
    'kubespiffe',
    'The root of the signing CA is not yet seen in {}; certificates are issued once it is.',
    { passesWithinMs: 10_000 },
  ),
  ClockSkew: wait(
    'cluster administrator',
    'The clock of the signer and that of the API server differ too much ({}). Fix time synchronisation ' +
      "(NTP) on the signer's node.",
  ),
  SignerForbidden: wait(
    'cluster administrator',
    'The API server forbids the signer to answer ({}). Apply the RBAC of manifests/base again.',
    { alarm: true },
  ),
  StatusRejected: wait(
    'kubespiffe',
    'The API server rejected the answer of the signer ({}). This is a bug in kubespiffe; please report it.',
    { alarm: true },
  ),
  SigningNotRecorded: wait(
    'cluster administrator',
    'The record of the CA pool, which says how long certificates may be valid, could not be updated ({}). The signer ' +
      'tries again; if this lasts, check that it may get, create and patch the ConfigMap named after the pool.',
    { passesWithinMs: 10_000 },
  ),
  ApiUnavailable: wait(
    'kubespiffe',
    'The API server did not accept the answer ({}); the signer tries again.',
    { passesWithinMs: 60_000 },
  ),

  PodGone: drop('nobody', 'The pod is gone ({}).'),
  PodReplaced: drop('nobody', 'Another pod has the same name now ({}).'),
} as const satisfies Record<string, Outcome>;

export type Reason = keyof typeof outcomes;

type ReasonOf<V extends Verdict> = {
  [R in Reason]: (typeof outcomes)[R]['verdict'] extends V ? R : never;
}[Reason];

export type DenyReason = ReasonOf<'deny'>;
export type WaitReason = ReasonOf<'wait'>;
export type DropReason = ReasonOf<'drop'>;

/** Whether a word is a code of this table, such as that of an Event that another program may have written. */
export const isReason = (word: string): word is Reason => Object.hasOwn(outcomes, word);

/** Why something could not be done. `detail` fills the sentence of the reason. */
export interface Cannot<R extends Reason> {
  readonly ok: false;
  readonly reason: R;
  readonly detail: string;
}

export const cannot = <R extends Reason>(reason: R, detail: string): Cannot<R> => ({
  ok: false,
  reason,
  detail,
});

/** The sentence of an outcome with its detail filled in. */
export function explain(reason: Reason, detail: string): string {
  const { message } = outcomes[reason];
  const at = message.indexOf('{}');
  return at < 0 ? message : `${message.slice(0, at)}${detail}${message.slice(at + 2)}`;
}
