import type { BadInput } from './rows.ts';

const names = 'identity/service-names.test.ts';
const chosen = 'identity/chosen-services.test.ts';
const dns = 'signers/service-dns.test.ts';
const contractDns = 'contract/service-dns.test.ts';

/** Bad Services, and bad choices of Services and settings of the signer service-dns. */
export const serviceDnsRows: readonly BadInput[] = [
  {
    input: 'a pod without labels, or that no Service selects',
    verdict: ['NoService'],
    tests: [
      [names, 'a pod has no names if it has no labels'],
      [names, 'a pod has no names if no Service selects it'],
      [
        contractDns,
        'service-dns answers a waiting request when a Service selects the pod, and reports before why it waits',
      ],
      [
        contractDns,
        'service-dns answers when the labels of a waiting pod or the selector of a Service are corrected',
      ],
    ],
  },
  {
    input: 'a Service without selector, of type ExternalName, or of another namespace',
    verdict: ['Issued'],
    tests: [
      [
        names,
        'a pod has names beside a Service without selector, a Service of another namespace, and an ExternalName Service',
      ],
      [dns, 'the signer of DNS names gives no name for a Service with the type ExternalName and a selector'],
      [dns, 'the signer of DNS names gives no name for a Service with a null selector'],
    ],
  },
  {
    input: 'a Service selector or pod labels with names that every object has, such as `constructor`',
    verdict: ['NoService'],
    tests: [
      [
        dns,
        'the signer of DNS names gives no name for a Service with labels of every object in its selector',
      ],
    ],
  },
  {
    input: 'Services that give a pod more than 100 DNS names, such as 501 with the same selector',
    verdict: ['TooManyNames'],
    tests: [
      [names, 'a pod has no names if its Services give more than 100 names'],
      [dns, 'the signer of DNS names lets a request choose among 501 Services with the same selector'],
    ],
  },
  {
    input: '50 Services with the same selector',
    verdict: ['Issued'],
    tests: [[names, 'a pod has the names of all of 50 Services with the same selector']],
  },
  {
    input: 'a Service, a hostname and a namespace with names of 63 characters',
    verdict: ['Issued'],
    tests: [
      [names, 'names of 63 characters each are valid DNS names in the longest domain that is accepted'],
    ],
  },
  {
    input: 'a hostname without a headless Service of the name of the subdomain',
    verdict: ['Issued'],
    tests: [
      [names, 'a pod has names whose subdomain is another Service, without its own'],
      [names, 'a pod has names with a hostname, in a Service with a cluster IP, without its own'],
    ],
  },
  {
    input: 'a namespace named `svc`, with hostnames that imitate Services of other namespaces',
    verdict: ['Issued'],
    tests: [
      [names, 'names are never those of a Service of another namespace, with any Services and any hostname'],
    ],
  },
  {
    input: '`kubespiffe.io/services` with a Service of another namespace, as `bank/vault` or as a DNS name',
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [
      [chosen, 'kubespiffe.io/services with a Service of another namespace is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with a DNS name is refused, in a short sentence'],
    ],
  },
  {
    input:
      '`kubespiffe.io/services` that is empty, has an empty or invalid name, more than 100 names, or 256 KiB',
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [
      [chosen, 'kubespiffe.io/services without a name is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with a comma at the end is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with capitals is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with a letter that is not ASCII is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with a line break is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with a name of 64 characters is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services with 101 names is refused, in a short sentence'],
      [chosen, 'kubespiffe.io/services of 256 KiB is refused, in a short sentence'],
    ],
  },
  {
    input: '`kubespiffe.io/services` with a Service that does not exist, or does not select the pod',
    verdict: ['ServiceNotMatching'],
    tests: [
      [names, 'a pod has no names if a chosen Service does not exist'],
      [names, 'a pod has no names if a chosen Service does not select it'],
      [names, 'a pod has no names if a chosen Service is of another namespace'],
    ],
  },
  {
    input: 'a Service that is created, changed or deleted while a request waits',
    verdict: ['Issued'],
    tests: [
      [
        dns,
        'a change of a Service wakes the pods that it selects, and those that it selected before, and no others',
      ],
      [names, 'names of a pod follow the Services as they change'],
    ],
  },
  {
    input: 'a CA whose name constraints do not permit a DNS name of the pod',
    verdict: ['NameNotPermitted'],
    tests: [
      [
        'issuance/signing.test.ts',
        'signing waits if the name constraints of the authority do not permit a DNS name, and others are signed',
      ],
    ],
  },
  {
    input: 'an EndpointSlice that a tenant writes for a pod, in its namespace or in another',
    verdict: ['NoService'],
    tests: [
      [contractDns, 'service-dns gives no name for an EndpointSlice that a tenant writes, in any namespace'],
    ],
  },
  {
    input: 'service-dns enabled without its pool, or with the pool of a trust domain',
    verdict: ['PoolUnusable'],
    tests: [
      [
        contractDns,
        'service-dns is not ready without its pool, says how to create it, and does not affect the signer spiffe',
      ],
      [contractDns, 'service-dns waits for a pool of its own: a pool of a trust domain is refused'],
    ],
  },
  {
    input: 'a source of service-dns that asks for 91 days',
    verdict: ['Issued'],
    tests: [
      [
        contractDns,
        'service-dns issues a certificate that OpenSSL accepts for each DNS name of the Service, and for no other',
      ],
    ],
  },
  {
    input: 'more than 8 KiB of `userAnnotations` in the spec of a pod with a source of service-dns',
    verdict: ['InvalidUnverifiedUserAnnotations'],
    tests: [
      ['kube/pods.test.ts', 'podCertificate sources are not kept with more than 8 KiB of annotations'],
      [chosen, 'kubespiffe.io/services of 256 KiB is refused, in a short sentence'],
    ],
  },
  {
    input:
      'a domain of Services that does not begin with `svc.`, has `svc` twice, or is longer than 61 characters',
    verdict: 'the signer does not start',
    tests: [
      ['config/load.test.ts', 'a domain of Services is refused if names of two namespaces could be the same'],
      ['config/load.test.ts', 'a domain of Services is refused if names get too long'],
    ],
  },
];
