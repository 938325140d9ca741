import { isDnsLabel, isDnsName } from '../../spiffe/dns-name.ts';
import { failure, success } from '../../spiffe/pki/result.ts';
import { type CertManagerIssuer, parseIssuer } from '../authority/upstream/upstream.ts';
import { isLabelKey } from '../kube/label-selector.ts';
import type { ValueType } from './values.ts';

export interface NamespacedName {
  namespace: string;
  name: string;
}

export const certManagerIssuer: ValueType<CertManagerIssuer> = {
  placeholder: 'KIND/NAME',
  rule: 'an issuer of cert-manager: `Issuer/NAME`, `ClusterIssuer/NAME`, or `KIND.GROUP/NAME` for one of another group',
  parse: parseIssuer,
};

export const objectName: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a Kubernetes name: lower-case letters, digits, `-` and `.`, at most 253 characters',
  parse: (value) =>
    isDnsName(value)
      ? success(value)
      : failure(
          'is not a Kubernetes name; use lower-case letters, digits, "-" and ".", at most 253 characters',
        ),
};

/** `-preview` is added to it, and a name has at most 253 characters. */
export const bundleSuffix: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a Kubernetes name: lower-case letters, digits, `-` and `.`, at most 245 characters',
  parse: (value) =>
    value.length <= 245
      ? objectName.parse(value)
      : failure('has more than 245 characters; use a shorter name'),
};

export const namespaceName: ValueType<string> = {
  placeholder: 'NAMESPACE',
  rule: 'the name of a namespace',
  parse: (value) =>
    isDnsLabel(value)
      ? success(value)
      : failure(
          'is not the name of a namespace; use lower-case letters, digits and "-", at most 63 characters',
        ),
};

export const namespacedName: ValueType<NamespacedName> = {
  placeholder: 'NAMESPACE/NAME',
  rule: 'namespace and name of an object, separated by `/`',
  parse(value) {
    const [namespace, name, ...rest] = value.split('/');
    if (namespace === undefined || name === undefined || rest.length > 0) {
      return failure('is not NAMESPACE/NAME; write both, such as kubespiffe/kubespiffe-pool');
    }
    if (!isDnsLabel(namespace))
      return failure(
        `has a part "${namespace}" that is not the name of a namespace; use lower-case letters, digits and "-", at most 63 characters`,
      );
    if (!isDnsName(name))
      return failure(
        `has a part "${name}" that is not the name of an object; use lower-case letters, digits, "-" and "."`,
      );
    return success({ namespace, name });
  },
};

/** A segment of the path of a SPIFFE ID (SPIFFE-ID 2.2). */
export const nameSegment: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'letters, digits, `.`, `-` and `_`, at most 63 characters',
  parse: (value) =>
    /^[A-Za-z0-9._-]{1,63}$/.test(value) && value !== '.' && value !== '..'
      ? success(value)
      : failure('has other characters than letters, digits, ".", "-" and "_", or more than 63'),
};

/** The key of an annotation, which is that of a label too. */
export const annotationKey: ValueType<string> = {
  placeholder: 'KEY',
  rule: 'the key of an annotation, such as `example.org/team`',
  parse: (value) =>
    isLabelKey(value)
      ? success(value)
      : failure('is not the key of an annotation; write such as example.org/team'),
};

/** A DNS name as a certificate may carry it. */
export const dnsName: ValueType<string> = {
  placeholder: 'NAME',
  rule: 'a DNS name in lower case',
  parse: (value) => (isDnsName(value) ? success(value) : failure('is not a DNS name in lower case')),
};

/** `<hostname>.<service>.<namespace>.`, 63 characters each, and such a domain make 253: the longest DNS name. */
const longestServiceDomain = 61;

/**
 * A domain of Services in the DNS of a cluster. It begins with `svc.` and has no other label `svc`. Otherwise
 * `<hostname>.<service>.<namespace>` in one domain could be the name of a Service of another namespace in another one.
 */
export const serviceDomain: ValueType<string> = {
  placeholder: 'DOMAIN',
  rule: `a DNS name in lower case that begins with \`svc.\`, at most ${longestServiceDomain} characters`,
  parse(value) {
    if (!isDnsName(value)) return failure('is not a DNS name in lower case');
    const [first, ...others] = value.split('.');
    if (first !== 'svc' || others.length === 0 || others.includes('svc')) {
      return failure('does not begin with "svc.", or has "svc" again; write such as svc.cluster.local');
    }
    return value.length <= longestServiceDomain
      ? success(value)
      : failure(`has more than ${longestServiceDomain} characters, with which a DNS name could get too long`);
  },
};
