import type { BadInput } from './rows.ts';

const template = 'identity/template.test.ts';
const registration = 'identity/registration.test.ts';
const registeredName = 'identity/registered-name.test.ts';
const resolve = 'identity/resolve.test.ts';
const cluster = 'contract/registrations.test.ts';
const registered = 'signers/registered.test.ts';
const admission = 'manifests/admission.test.ts';
const contract = 'contract/registration-status.test.ts';

/** Bad registrations, and bad labels, annotations and policies that they use. */
export const registrationRows: readonly BadInput[] = [
  {
    input: 'a template with braces that are not closed or not opened, or with nothing in them',
    verdict: ['IdentityInvalid'],
    tests: [
      [template, 'a template is refused with a reason: {{'],
      [template, 'a template is refused with a reason: a }} b'],
      [template, 'a template is refused with a reason: {{ }}'],
    ],
  },
  {
    input:
      'a template with a function, a pipeline, a condition, a loop, a variable, parentheses or a comment',
    verdict: ['IdentityInvalid'],
    tests: [
      [template, 'a template is refused with a reason: {{ printf "%s" .TrustDomain }}'],
      [template, 'a template is refused with a reason: {{ .PodMeta.Name | lower }}'],
      [template, 'a template is refused with a reason: {{ if .TrustDomain }}a{{ end }}'],
      [template, 'a template is refused with a reason: {{ range .PodMeta.Labels }}a{{ end }}'],
      [template, 'a template is refused with a reason: {{ $.TrustDomain }}'],
      [template, 'a template is refused with a reason: {{ (index .PodMeta.Labels "app") }}'],
      [template, 'a template is refused with a reason: {{/* a comment */}}'],
    ],
  },
  {
    input: 'a template with a field that does not exist, or with all labels at once',
    verdict: ['IdentityInvalid'],
    tests: [
      [template, 'a template is refused with a reason: {{ .PodMeta.name }}'],
      [template, 'a template is refused with a reason: {{ .NodeMeta.Name }}'],
      [template, 'a template is refused with a reason: {{ .PodMeta.Labels }}'],
    ],
  },
  {
    input: '`index` with no key, two keys, a key that is not quoted, or one that no label can have',
    verdict: ['IdentityInvalid'],
    tests: [
      [template, 'a template is refused with a reason: {{ index .PodMeta.Labels }}'],
      [template, 'a template is refused with a reason: {{ index .PodMeta.Labels "a" "b" }}'],
      [template, 'a template is refused with a reason: {{ index .PodMeta.Labels app }}'],
      [template, 'a template is refused with a reason: {{ index .PodMeta.Labels "a/b/c" }}'],
    ],
  },
  {
    input: 'a template of more than 4096 characters, or one that makes more than 2048 bytes',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'an invalid registration gives no name, and reports why: at most 2048 bytes'],
      [registeredName, 'a tenant gets no name: 2,049 bytes'],
    ],
  },
  {
    input: 'a template with `%2F`, unicode, `..`, an empty segment or a query as text',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'an invalid registration gives no name, and reports why: no percent-encoding'],
      [registration, 'an invalid registration gives no name, and reports why: has only the characters'],
      [registration, 'an invalid registration gives no name, and reports why: the segment ".."'],
      [registration, 'an invalid registration gives no name, and reports why: an empty segment'],
      [registration, 'an invalid registration gives no name, and reports why: no query'],
    ],
  },
  {
    input: 'a template that is empty, missing or not text',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'an invalid registration gives no name, and reports why: spiffeIDTemplate is missing'],
      [
        registration,
        'an invalid registration gives no name, and reports why: spiffeIDTemplate is empty, not text',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: spiffeIDTemplate is 5, not text',
      ],
    ],
  },
  {
    input:
      'a template of another trust domain, of none, of the trust domain alone, or with a label in its place',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'an invalid registration gives no name, and reports why: does not begin with'],
      [
        registration,
        'an invalid registration gives no name, and reports why: the trust domain itself; add a path',
      ],
      [registeredName, 'a tenant gets no name: another trust domain'],
      [registeredName, 'a tenant gets no name: the bare trust domain'],
    ],
  },
  {
    input: 'a label or annotation that is missing or empty',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: a missing label'],
      [registeredName, 'a tenant gets no name: an empty label'],
    ],
  },
  {
    input: 'a label named like a member of every object, such as `constructor`',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        template,
        'a template gives no name, and reports why: {{ index .PodMeta.Labels "constructor" }} in a name of "/"',
      ],
    ],
  },
  {
    input:
      'a value with a slash: `a/ns/other` in an annotation, or in a label of an object from before validation',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: /ns/other in an annotation'],
      [registeredName, 'a tenant gets no name: /ns/other in a label of an object from before validation'],
    ],
  },
  {
    input: 'a value with `%2F`, `..`, a look-alike letter, a full-width slash, a line break or a query',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: %2F in an annotation'],
      [registeredName, 'a tenant gets no name: ".." in an annotation'],
      [registeredName, 'a tenant gets no name: ".." of two values'],
      [registeredName, 'a tenant gets no name: a look-alike letter'],
      [registeredName, 'a tenant gets no name: a full-width slash'],
      [registeredName, 'a tenant gets no name: a line break'],
      [registeredName, 'a tenant gets no name: a query'],
    ],
  },
  {
    input:
      'an annotation that the setting `podAnnotations` does not name, or `.ClusterName` without `clusterName`',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registration,
        'an invalid registration gives no name, and reports why: the setting podAnnotations does not name example.org/x',
      ],
      [registration, 'a registration with .ClusterName is refused if the setting clusterName is not set'],
    ],
  },
  {
    input:
      'a WorkloadRegistration that gives a name in another namespace, or outside of its own without a grant',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: /ns/other by text'],
      [registeredName, 'a tenant gets no name: a path prefix without a grant'],
      [registeredName, 'a tenant gets no name: a grant of another namespace'],
      [registeredName, 'a tenant gets no name: a namespace that begins like its own'],
      [registeredName, 'a tenant gets no name: the namespace without a name below it'],
    ],
  },
  {
    input: 'a registration that gives a name below `/kubespiffe/` or `/ns/*/pod/`, by text or by labels',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: the infrastructure'],
      [registeredName, 'a tenant gets no name: the infrastructure by a label'],
      [registeredName, 'a tenant gets no name: a pod of its own'],
      [registeredName, 'a tenant gets no name: a pod of another namespace'],
      [registeredName, 'a tenant gets no name: a pod by a label'],
      [
        registeredName,
        'a tenant gets no name from a careless ClusterWorkloadRegistration: a label as the reserved segment',
      ],
      [registeredName, 'a tenant gets no name from a careless ClusterWorkloadRegistration: labels as a pod'],
    ],
  },
  {
    input: 'a ClusterWorkloadRegistration whose labels make the path of another namespace',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registeredName,
        'a tenant gets no name from a careless ClusterWorkloadRegistration: two labels that make /ns/bank',
      ],
      [
        registeredName,
        'a tenant gets no name from a careless ClusterWorkloadRegistration: a label as the namespace',
      ],
      [
        registeredName,
        'a tenant gets no name from a careless ClusterWorkloadRegistration: a label as the end of the namespace',
      ],
    ],
  },
  {
    input: 'DNS names that were not granted, a wildcard, capitals, `_`, or a value with a dot',
    verdict: ['IdentityInvalid'],
    tests: [
      [registeredName, 'a tenant gets no name: a DNS name without a grant'],
      [registeredName, 'a tenant gets no name: a DNS name with one label more than was granted'],
      [registeredName, 'a tenant gets no name: the parent of a granted wildcard'],
      [registeredName, 'a tenant gets no name: a DNS name with a dot in a label'],
      [registeredName, 'a tenant gets no name: a DNS name with a capital'],
      [registeredName, 'a tenant gets no name: a DNS name with an underscore'],
      [
        registration,
        'an invalid registration gives no name, and reports why: does not make a DNS name in lower case',
      ],
    ],
  },
  {
    input: '`autoPopulateDNSNames` for a pod with more than 100 names of Services',
    verdict: ['IdentityInvalid'],
    tests: [
      [registered, 'a pod has the DNS names of the Services that select it if its registration says so'],
    ],
  },
  {
    input:
      'a selector that is text, has an unknown operator or member, a key that no label can have, or labels that are not text',
    verdict: 'selects no pod',
    tests: [
      [
        registration,
        'an invalid registration gives no name, and reports why: podSelector is "app=web", not a label selector',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: podSelector has "app", which is not known',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: podSelector has matchLabels that are not texts',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: podSelector has matchExpressions',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: podSelector names the label "serviceAccount:", which no object can have',
      ],
      [
        registration,
        'a registration selects no pod if podSelector cannot be read, because it is unknown which are meant',
      ],
    ],
  },
  {
    input: 'a `ttl` below 1h, a `jwtTTL` below 1m, or one that is not a duration',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registration,
        'an invalid registration gives no name, and reports why: ttl is 10m; at least 1h is allowed',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: ttl is "1d", not a duration such as 1h30m',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: jwtTTL is 59s; at least 1m is allowed',
      ],
      [registration, 'pods wait for an invalid registration that selects them, and get no other name'],
    ],
  },
  {
    input: 'empty lists of audiences or ServiceAccounts, an audience with `*` inside, more than 100 entries',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registration,
        'an invalid registration gives no name, and reports why: audiences is empty; add an audience',
      ],
      [
        registration,
        'an invalid registration gives no name, and reports why: serviceAccountNames is empty; add a name, or remove the field',
      ],
      [registration, 'an invalid registration gives no name, and reports why: with "*" only at its end'],
      [registration, 'an invalid registration gives no name, and reports why: has 101 entries'],
    ],
  },
  {
    input:
      'a `hint` with a line break, a `priority` that is not a whole number, a `federatesWith` with capitals',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'an invalid registration gives no name, and reports why: cannot be printed'],
      [
        registration,
        'an invalid registration gives no name, and reports why: priority is 1.5, not a whole number',
      ],
      [registration, 'an invalid registration gives no name, and reports why: write it in lower case'],
    ],
  },
  {
    input: 'a field that this version does not know, of a newer CRD or of the other kind',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registration,
        'an invalid registration gives no name, and reports why: this version of the signer knows',
      ],
      [contract, 'a field of a newer version gives no name, because it may restrict what the rest gives'],
      [
        registration,
        'an invalid registration gives no name, and reports why: is not a field of a WorkloadRegistration',
      ],
    ],
  },
  {
    input: 'a registration or policy that is any other JSON',
    verdict: ['IdentityInvalid'],
    tests: [
      [registration, 'reading any object as a registration never throws'],
      [registeredName, 'reading any object as a policy never throws, and grants nothing on error'],
    ],
  },
  {
    input: 'a policy with a prefix without a final `/`, a DNS name `*`, or the namespace `*`',
    verdict: 'grants nothing',
    tests: [
      [registeredName, 'reading any object as a policy never throws, and grants nothing on error'],
      [registeredName, 'the rest of a policy with one error is read'],
    ],
  },
  {
    input: 'two registrations of the same priority, or ten thousand, that match one pod',
    verdict: ['RegistrationAmbiguous'],
    tests: [
      [resolve, 'the registration that counts is neither of two'],
      [resolve, 'the registration that counts is neither of two of the highest priority'],
      [resolve, 'the registration that counts is none of ten thousand, of which it names five'],
    ],
  },
  {
    input: 'more than 1,000 WorkloadRegistrations in a namespace',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        registered,
        'a pod has no name in a namespace with more than 1,000 registrations, so that they cannot keep the signer busy',
      ],
    ],
  },
  {
    input:
      'a chosen registration that does not exist, does not match, is of another class, or is a fallback while others match',
    verdict: ['RegistrationNotMatching'],
    tests: [
      [resolve, 'the registration that counts is none that does not match'],
      [resolve, 'the registration that counts is not a fallback that is asked for, where another matches'],
      [registered, 'a request may choose among the registrations that match, and no other'],
    ],
  },
  {
    input: '`kubespiffe.io/registration` that no registration can be called, such as `shop/web` or nothing',
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [[registered, 'a choice that cannot be the name of a registration is refused']],
  },
  {
    input: 'a pod without a registration where `defaultIdentity` is `none`',
    verdict: ['NotRegistered'],
    tests: [
      [
        registered,
        'a pod has no name without a registration if defaultIdentity is none, and the reason says what would help',
      ],
    ],
  },
  {
    input: 'a namespace whose labels were not seen yet, and a registration that selects by them',
    verdict: ['PodNotVisible'],
    tests: [
      [registered, 'a pod waits for the labels of its namespace if a registration selects by such labels'],
    ],
  },
  {
    input: 'an API server that serves no registrations',
    verdict: ['Issued'],
    tests: [
      [registered, 'a pod keeps the name of its ServiceAccount if the API server serves no registrations'],
    ],
  },
  {
    input: 'objects that were stored before the CRDs had any validation',
    verdict: ['IdentityInvalid'],
    tests: [
      [
        cluster,
        'invalid registrations from before any validation stop no replica and name no pod; readable ones select pods and report why',
      ],
    ],
  },
  {
    input: 'a registration that is created or changed while a pod waits for it',
    verdict: ['Issued'],
    tests: [
      [cluster, 'a pod without a registration waits, and gets its certificate as soon as there is one'],
      [
        cluster,
        'a request is answered by the registrations of that moment, also if they changed while it waited',
      ],
    ],
  },
  {
    input: 'a registration that is deleted while the token endpoint answers',
    verdict: ['NotRegistered'],
    tests: [
      [
        cluster,
        'a registration that is deleted while the token endpoint answers gives its name or a refusal, and no other name',
      ],
    ],
  },
  {
    input:
      'a registration whose template, selector, lifetime or audiences cannot be right, in `kubectl apply`',
    verdict: 'the API server refuses it',
    tests: [
      [admission, 'the API server refuses a WorkloadRegistration with a pipeline'],
      [admission, 'the API server refuses a WorkloadRegistration with percent-encoding'],
      [admission, 'the API server refuses a WorkloadRegistration with the path of a pod'],
      [admission, 'the API server refuses a WorkloadRegistration with an unknown operator'],
      [admission, 'the API server refuses a WorkloadRegistration with a lifetime below an hour'],
      [admission, 'the API server refuses a ClusterWorkloadRegistration with no selector'],
    ],
  },
  {
    input:
      'a WorkloadRegistration with a path or DNS name that its namespace may not give, in `kubectl apply`',
    verdict: 'the API server refuses it',
    tests: [
      [admission, 'the API server refuses a WorkloadRegistration with another namespace'],
      [admission, 'the API server refuses a WorkloadRegistration with a namespace with the same beginning'],
      [admission, 'the API server refuses a WorkloadRegistration with DNS names that were not granted'],
      [admission, 'kubectl apply prints the reason of a refused registration'],
    ],
  },
  {
    input: '`kubectl apply` of a registration whose template names another trust domain',
    verdict: 'the API server refuses it',
    tests: [
      [
        admission,
        'the API server refuses a WorkloadRegistration with another trust domain than that of the signer',
      ],
      [
        admission,
        'the API server refuses a ClusterWorkloadRegistration with another trust domain than that of the signer',
      ],
      [
        contract,
        'the signer publishes its trust domain in the policy, and `kubectl apply` refuses a registration with another one',
      ],
    ],
  },
  {
    input: 'a ClusterRegistrationPolicy of another name, or a grant of every path or of a reserved one',
    verdict: 'the API server refuses it',
    tests: [
      [admission, 'the API server refuses a ClusterRegistrationPolicy of another name'],
      [admission, 'the API server refuses a grant of every path'],
      [admission, 'the API server refuses a grant of a path of the infrastructure'],
    ],
  },
  {
    input: 'a ClusterRegistrationPolicy that is deleted',
    verdict: 'grants nothing',
    tests: [
      [
        contract,
        'a signer finds CRDs that are installed while it runs, and creates the policy without grants',
      ],
    ],
  },
  {
    input: 'CRDs that are not installed, or installed later',
    verdict: ['Issued'],
    tests: [
      [
        contract,
        'without the CRDs a pod has the name of its ServiceAccount, and readiness reports what is missing',
      ],
      [
        contract,
        'a signer finds CRDs that are installed while it runs, and creates the policy without grants',
      ],
    ],
  },
  {
    input: 'one of two conflicting registrations that is deleted while the pod waits',
    verdict: ['Issued'],
    tests: [
      [
        contract,
        'two registrations that conflict both report that, and the pod is named when one of them is deleted',
      ],
    ],
  },
  {
    input: 'a status that another client has written into a registration',
    verdict: 'written again',
    tests: [
      [
        'signers/registration-status.test.ts',
        'the status writer restores a status that another client has overwritten',
      ],
      [
        'identity/registration-status.test.ts',
        'the status of a registration is made from the spec only, and not from the old status',
      ],
    ],
  },
];
