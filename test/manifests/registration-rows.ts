/** A registration that is refused at `kubectl apply`, or accepted: by the CRDs and by the policy for namespaces. */
export interface RegistrationRow {
  readonly what: string;
  /** Fields that replace those of `rightSpec`. Undefined takes a field away. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** What kubectl prints; undefined where it is accepted. */
  readonly refusal?: RegExp;
}

/** A spec that is accepted. */
export const rightSpec = {
  podSelector: { matchLabels: { app: 'web' } },
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/web',
};

/** The grants of the ClusterRegistrationPolicy that the rows are judged by. */
export const grants = [
  { namespaces: ['bank', 'shop'], pathPrefixes: ['/teams/shop/'] },
  { namespaces: ['shop'], dnsNames: ['web.shop.test', '*.shop.example.org'] },
  { namespaces: ['bank'], pathPrefixes: ['/teams/bank/'], dnsNames: ['web.bank.test'] },
];

/** The signers by whose trust domains the rows are judged, as they write them into the status of that policy. */
export const trustDomains = [
  { className: '', trustDomain: 'example.org' },
  { className: 'blue', trustDomain: 'blue.example' },
];

const under = 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/';
const template = (spiffeIDTemplate: string) => ({ spiffeIDTemplate });
const unsupported =
  /has a value in double braces that is not supported.*Functions, pipelines and conditions are not/s;
const shape =
  /must be spiffe:\/\/\{\{ \.TrustDomain \}\}\/ or spiffe:\/\/ and the trust domain, then segments/;
const reserved = /is reserved for the infrastructure, and \/ns\/NAMESPACE\/pod\/ for the signer/;

/** True of both kinds. */
export const rowsOfBoth: readonly RegistrationRow[] = [
  { what: 'the default identity', spec: template(`${under}sa/{{ .PodSpec.ServiceAccountName }}`) },
  {
    what: 'every value that a template may have',
    spec: template(
      `${under}{{.PodMeta.Name}}/{{ .PodMeta.UID }}-{{ .PodSpec.NodeName }}/{{ .ClusterName }}/` +
        '{{ index .PodMeta.Labels "app.kubernetes.io/name" }}/{{ index .PodMeta.Annotations `example.org/team` }}/{{ .PodMeta.Labels.app }}',
    ),
  },
  {
    what: 'every other field',
    spec: {
      podSelector: {
        matchLabels: { app: 'web' },
        matchExpressions: [
          { key: 'tier', operator: 'In', values: ['a', 'b'] },
          { key: 'legacy', operator: 'DoesNotExist' },
        ],
      },
      serviceAccountNames: ['web', 'api.v2'],
      autoPopulateDNSNames: true,
      ...{ ttl: '1h30m', jwtTTL: '90s', federatesWith: ['partner.example'], hint: 'internal', priority: -10 },
      ...{ audiences: ['https://api.example.org', 'https://*'], fallback: true, className: 'blue' },
    },
  },
  {
    what: 'no template',
    spec: { spiffeIDTemplate: undefined },
    refusal: /spec\.spiffeIDTemplate.*Required value/,
  },
  { what: 'an empty template', spec: template(''), refusal: shape },
  {
    what: 'a template of 2,500 characters',
    spec: template(under + 'a'.repeat(2500 - under.length)),
    refusal: /2048/,
  },
  { what: 'a function', spec: template(`${under}{{ lower .PodMeta.Name }}`), refusal: unsupported },
  { what: 'a pipeline', spec: template(`${under}{{ .PodMeta.Name | lower }}`), refusal: unsupported },
  { what: 'a condition', spec: template(`${under}{{ if .PodMeta.Name }}a{{ end }}`), refusal: unsupported },
  { what: 'an unknown value', spec: template(`${under}{{ .NodeMeta.Name }}`), refusal: unsupported },
  { what: 'all labels at once', spec: template(`${under}{{ .PodMeta.Labels }}`), refusal: unsupported },
  { what: 'braces that do not close', spec: template(`${under}{{ .PodMeta.Name`), refusal: unsupported },
  { what: 'single braces', spec: template(`${under}{.PodMeta.Name}`), refusal: unsupported },
  { what: 'another scheme', spec: template('https://example.org/ns/shop/a'), refusal: shape },
  { what: 'a trust domain alone', spec: template('spiffe://{{ .TrustDomain }}'), refusal: shape },
  {
    what: 'a trust domain with a slash alone',
    spec: template('spiffe://{{ .TrustDomain }}/'),
    refusal: shape,
  },
  {
    what: 'a trust domain from a label',
    spec: template('spiffe://{{ index .PodMeta.Labels "a" }}/ns/shop/a'),
    refusal: shape,
  },
  { what: 'a trust domain in capitals', spec: template('spiffe://EXAMPLE.ORG/ns/shop/a'), refusal: shape },
  { what: 'a port', spec: template('spiffe://example.org:8443/ns/shop/a'), refusal: shape },
  { what: 'a query', spec: template(`${under}a?b=c`), refusal: shape },
  { what: 'percent-encoding', spec: template(`${under}a%2Fb`), refusal: shape },
  { what: 'letters beyond ASCII', spec: template(`${under}wéb`), refusal: shape },
  { what: 'an empty segment', spec: template(`${under}a//b`), refusal: shape },
  { what: 'a slash at the end', spec: template(`${under}a/`), refusal: shape },
  { what: 'a line break', spec: template(`${under}a\nb`), refusal: shape },
  {
    what: 'the segment ..',
    spec: template(`${under}../other`),
    refusal: /the segments "\." and "\.\." are not allowed/,
  },
  {
    what: 'the segment . at the end',
    spec: template(`${under}.`),
    refusal: /the segments "\." and "\.\." are not allowed/,
  },
  {
    what: 'another trust domain than that of the signer',
    spec: template('spiffe://partner.example/ns/shop/web'),
    refusal:
      /is in the trust domain partner\.example, and the signer of registrations without a className is in example\.org: begin with/,
  },
  {
    what: 'the trust domain of the signer of another class',
    spec: { ...template('spiffe://example.org/ns/shop/web'), className: 'blue' },
    refusal: /example\.org, and the signer of the className blue is in blue\.example: begin with/,
  },
  {
    what: 'the trust domain of the signer of its class',
    spec: { ...template('spiffe://blue.example/ns/shop/web'), className: 'blue' },
  },
  {
    what: 'any trust domain for a class whose signer is unknown',
    spec: { ...template('spiffe://partner.example/ns/shop/web'), className: 'green' },
  },
  {
    what: 'a path of the infrastructure',
    spec: template('spiffe://example.org/kubespiffe/token-endpoint'),
    refusal: reserved,
  },
  { what: 'the path of a pod', spec: template(`${under}pod/{{ .PodMeta.Name }}`), refusal: reserved },
  {
    what: 'the path of a pod in another namespace',
    spec: template('spiffe://example.org/ns/{{ index .PodMeta.Labels "a/b" }}/pod/web-0'),
    refusal: reserved,
  },
  {
    what: 'a wildcard as DNS name',
    spec: { dnsNameTemplates: ['*.example.org'] },
    refusal: /wildcards are not allowed/,
  },
  {
    what: 'a DNS name in capitals',
    spec: { dnsNameTemplates: ['WEB.example.org'] },
    refusal: /must be a DNS name of lower-case/,
  },
  {
    what: 'a function in a DNS name',
    spec: { dnsNameTemplates: ['{{ lower .PodMeta.Name }}.org'] },
    refusal: unsupported,
  },
  {
    what: 'a lifetime below an hour',
    spec: { ttl: '59m' },
    refusal: /must be at least 1h, because Kubernetes accepts no shorter/,
  },
  { what: 'a lifetime in days', spec: { ttl: '1d' }, refusal: /spec\.ttl.*should match/ },
  { what: 'a lifetime that is a number', spec: { ttl: 3600 }, refusal: /spec\.ttl.*must be of type string/ },
  { what: 'tokens that live 59 s', spec: { jwtTTL: '59s' }, refusal: /spec\.jwtTTL.*must be at least 1m/ },
  {
    what: 'no audiences at all',
    spec: { audiences: [] },
    refusal: /spec\.audiences.*should have at least 1 items/,
  },
  {
    what: 'an audience with * in its middle',
    spec: { audiences: ['https://*.example.org'] },
    refusal: /spec\.audiences.*should match/,
  },
  {
    what: 'a trust domain with a scheme',
    spec: { federatesWith: ['spiffe://partner.example'] },
    refusal: /spec\.federatesWith.*should match/,
  },
  {
    what: 'an unknown operator',
    spec: { podSelector: { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] } },
    refusal: /Unsupported value: "Gt"/,
  },
  {
    what: 'In without values',
    spec: { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
    refusal: /In and NotIn need values/,
  },
  {
    what: 'a field that does not exist',
    spec: { spiffeIdTemplate: 'a' },
    refusal: /unknown field "spec\.spiffeIdTemplate"/,
  },
];

const outside = /gives names outside of \/ns\/shop\/: /;

/** In the namespace shop, which may also give names below /teams/shop/, web.shop.test and names below shop.example.org. */
export const rowsOfNamespace: readonly RegistrationRow[] = [
  {
    what: 'a priority of the administrator',
    spec: { priority: 1001 },
    refusal: /spec\.priority.*less than or equal to 1000/,
  },
  { what: 'its namespace written out', spec: template('spiffe://example.org/ns/shop/web') },
  { what: 'a granted path', spec: template('spiffe://{{ .TrustDomain }}/teams/shop/{{ .PodMeta.Name }}') },
  {
    what: 'granted DNS names',
    spec: { dnsNameTemplates: ['web.shop.test', '{{ .PodMeta.Name }}.shop.example.org'] },
  },
  { what: 'no selector, for every pod of the namespace', spec: { podSelector: undefined } },
  { what: 'another namespace', spec: template('spiffe://example.org/ns/bank/web'), refusal: outside },
  {
    what: 'a namespace with the same beginning',
    spec: template('spiffe://example.org/ns/shopping/web'),
    refusal: outside,
  },
  {
    what: 'a namespace from a label',
    spec: template('spiffe://example.org/ns/{{ .PodMeta.Labels.ns }}/web'),
    refusal: outside,
  },
  {
    what: 'a namespace with a suffix',
    spec: template('spiffe://example.org/ns/{{ .PodMeta.Namespace }}2/web'),
    refusal: outside,
  },
  {
    what: 'a path that was not granted, and hears what is granted',
    spec: template('spiffe://example.org/teams/bank/web'),
    refusal:
      /\/teams\/bank\/web\. The namespace shop may also use \/teams\/shop\/\. An administrator grants more in/,
  },
  {
    what: 'DNS names that were not granted',
    spec: {
      dnsNameTemplates: ['web.shop.test', 'evilshop.example.org', 'shop.example.org', 'a.b.shop.example.org'],
    },
    refusal:
      /not granted to the namespace shop: evilshop\.example\.org, shop\.example\.org, a\.b\.shop\.example\.org\. An/,
  },
  {
    what: 'namespaceSelector',
    spec: { namespaceSelector: {} },
    refusal: /unknown field "spec\.namespaceSelector"/,
  },
];

const select =
  /select pods by podSelector, namespaceSelector or serviceAccountNames, or every pod of the cluster by/;

export const rowsOfCluster: readonly RegistrationRow[] = [
  {
    what: 'any path and DNS name',
    spec: { ...template('spiffe://example.org/a/b'), dnsNameTemplates: ['a.b'] },
  },
  { what: 'every pod, if it says so', spec: { podSelector: undefined, matchAllPods: true } },
  {
    what: 'a selector of namespaces',
    spec: { podSelector: undefined, namespaceSelector: { matchLabels: { a: 'b' } } },
  },
  { what: 'ServiceAccounts', spec: { podSelector: undefined, serviceAccountNames: ['web'] } },
  { what: 'no selector', spec: { podSelector: undefined }, refusal: select },
  {
    what: 'an empty selector',
    spec: { podSelector: {}, namespaceSelector: { matchLabels: {} } },
    refusal: select,
  },
  {
    what: 'matchAllPods false without a selector',
    spec: { podSelector: undefined, matchAllPods: false },
    refusal: select,
  },
  { what: 'matchAllPods with a selector', spec: { matchAllPods: true }, refusal: select },
];

/** Grants of a ClusterRegistrationPolicy that are refused. */
export const grantRows: readonly (readonly [what: string, grant: object, refusal: RegExp])[] = [
  ['nothing', {}, /a grant needs pathPrefixes or dnsNames/],
  ['no namespace', { namespaces: [], dnsNames: ['a.b'] }, /should have at least 1 items/],
  ['every path', { pathPrefixes: ['/'] }, /pathPrefixes.*should match/],
  ['a prefix that ends within a segment', { pathPrefixes: ['/teams/sh'] }, /pathPrefixes.*should match/],
  ['a prefix with ..', { pathPrefixes: ['/teams/../'] }, /the segments "\." and "\.\." are not allowed/],
  ['a path of the infrastructure', { pathPrefixes: ['/kubespiffe/'] }, /are reserved and cannot be granted/],
  ['the pods of a namespace', { pathPrefixes: ['/ns/bank/pod/'] }, /are reserved and cannot be granted/],
  ['every DNS name', { dnsNames: ['*'] }, /dnsNames.*should match/],
  ['a wildcard in the middle', { dnsNames: ['a.*.org'] }, /dnsNames.*should match/],
];
