const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Whether a text is one label of a DNS name in lower case, such as the name of a namespace (RFC 1123). */
export function isDnsLabel(text: string): boolean {
  return dnsLabel.test(text);
}

/** Whether a text is a DNS name in lower case, as certificates carry it and Kubernetes names most objects (RFC 1123). */
export function isDnsName(text: string): boolean {
  return text.length <= 253 && text.split('.').every(isDnsLabel);
}
