/** The spec of a FederatedTrustDomain that is refused, or accepted: by its CRD and by the signer that reads it. */
export interface FederationRow {
  readonly what: string;
  readonly spec: Readonly<Record<string, unknown>>;
  /** What kubectl prints. Undefined where the CRD accepts it. */
  readonly refusal?: RegExp;
  /** What the signer says of an object that is older than the rule. Undefined where it accepts it. */
  readonly problem?: string;
}

const trustDomain = 'partner.example';
const url = 'https://bundle.partner.example:8443/bundle?format=spiffe';
const web = { url, profile: 'https_web' };
const endpointSPIFFEID = 'spiffe://partner.example/bundle-endpoint';
const spiffe = { url, profile: 'https_spiffe', endpointSPIFFEID };
const bundle = '{"keys": []}';
const caBundle = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const either = /give one of bundleEndpoint, from which the bundle is fetched, bundle and clusterTrustBundle/;
const urlRow = (what: string, text: string, refusal: RegExp, problem: string): FederationRow => ({
  what,
  spec: { trustDomain, bundleEndpoint: { ...web, url: text } },
  refusal,
  problem: `spec.bundleEndpoint.url ${problem}`,
});
const hintRow = (what: string, refreshHint: object, refusal: RegExp, problem?: string): FederationRow => ({
  what,
  spec: { trustDomain, bundleEndpoint: web, refreshHint },
  refusal,
  ...(problem !== undefined && { problem }),
});
const noHttps = /must be a URL with a host that begins with https:\/\//;

export const federationRows: readonly FederationRow[] = [
  { what: 'an endpoint of the web', spec: { trustDomain, bundleEndpoint: web } },
  {
    what: 'every field of an endpoint of the web',
    spec: {
      trustDomain,
      bundleEndpoint: { ...web, caBundle },
      refreshHint: { min: '1m', max: '1h30m' },
      paused: true,
    },
  },
  {
    what: 'an endpoint with an SVID of its own trust domain',
    spec: { trustDomain, bundleEndpoint: spiffe, bootstrapBundle: bundle },
  },
  {
    what: 'an endpoint with an SVID of another trust domain',
    spec: { trustDomain, bundleEndpoint: { ...spiffe, endpointSPIFFEID: 'spiffe://hub.example/bundles' } },
  },
  { what: 'a bundle as text', spec: { trustDomain, bundle } },
  { what: 'another cluster of the same trust domain', spec: { trustDomain, bundle, peerOf: 'self' } },
  {
    what: 'a peer of something else than the signer itself',
    spec: { trustDomain, bundle, peerOf: 'other' },
    refusal: /peerOf.*Unsupported value/,
    problem: 'spec.peerOf is "other", not self',
  },
  { what: 'a ClusterTrustBundle', spec: { trustDomain, clusterTrustBundle: 'other.example:partner:roots' } },
  {
    what: 'a ClusterTrustBundle that is not a name',
    spec: { trustDomain, clusterTrustBundle: '../../secrets' },
    refusal: /clusterTrustBundle.*should match/,
    problem: 'spec.clusterTrustBundle is "../../secrets", not the name of a ClusterTrustBundle',
  },
  {
    what: 'a URL with an IPv6 address',
    spec: { trustDomain, bundleEndpoint: { ...web, url: 'https://[2001:db8::1]/' } },
  },
  {
    what: 'a URL whose host has letters outside of ASCII (IDN)',
    spec: { trustDomain, bundleEndpoint: { ...web, url: 'https://b\u00fcndel.partner.example/bundle' } },
  },
  {
    what: 'no trust domain',
    spec: { bundle },
    refusal: /trustDomain.*Required value/,
    problem: 'spec.trustDomain is missing',
  },
  {
    what: 'a trust domain with capitals',
    spec: { trustDomain: 'Partner.example', bundle },
    refusal: /trustDomain.*should match/,
    problem: 'spec.trustDomain a trust domain has only the characters',
  },
  {
    what: 'a trust domain of 256 characters',
    spec: { trustDomain: 'a'.repeat(256), bundle },
    refusal: /trustDomain.*Too long/s,
    problem: 'spec.trustDomain a trust domain has at most 255 characters',
  },
  {
    what: 'no source',
    spec: { trustDomain },
    refusal: either,
    problem: 'spec needs one of bundleEndpoint, bundle and clusterTrustBundle',
  },
  {
    what: 'two sources',
    spec: { trustDomain, bundle, bundleEndpoint: web },
    refusal: either,
    problem: 'spec needs one of bundleEndpoint, bundle and clusterTrustBundle',
  },
  {
    what: 'no URL',
    spec: { trustDomain, bundleEndpoint: { profile: 'https_web' } },
    refusal: /url.*Required value/,
    problem: 'spec.bundleEndpoint.url is "", not a URL',
  },
  {
    what: 'no profile',
    spec: { trustDomain, bundleEndpoint: { url } },
    refusal: /profile.*Required value/,
    problem: 'spec.bundleEndpoint.profile is missing',
  },
  {
    what: 'an unknown profile',
    spec: { trustDomain, bundleEndpoint: { url, profile: 'http' } },
    refusal: /profile.*Unsupported value/,
    problem: 'spec.bundleEndpoint.profile is "http", neither https_web nor https_spiffe',
  },
  urlRow('a URL with the scheme http', 'http://partner.example/', noHttps, 'cannot be used: '),
  urlRow('a URL with the scheme file', 'file:///etc/passwd', noHttps, 'cannot be used: '),
  urlRow('a URL with no scheme', 'partner.example/bundle', noHttps, 'is "partner.example/bundle", not a URL'),
  urlRow(
    'a URL with a user and a password',
    'https://me:secret@partner.example/',
    /must not name a user or a password/,
    'cannot be used: ',
  ),
  urlRow(
    'a URL with a fragment',
    'https://partner.example/#bundle',
    /must not have a fragment/,
    'has a fragment',
  ),
  urlRow('a URL with port 0', 'https://partner.example:0/', /port 0 cannot be reached/, 'has port 0'),
  {
    what: 'https_spiffe without endpointSPIFFEID',
    spec: { trustDomain, bundleEndpoint: { url, profile: 'https_spiffe' } },
    refusal: /endpointSPIFFEID is needed with the profile https_spiffe, and only there/,
    problem: 'spec.bundleEndpoint.endpointSPIFFEID is needed with the profile https_spiffe',
  },
  {
    what: 'https_web with endpointSPIFFEID',
    spec: { trustDomain, bundleEndpoint: { ...web, endpointSPIFFEID } },
    // The rule for bootstrapBundle may be the one that is reported.
    refusal: /endpointSPIFFEID is (needed|of this trust domain)/,
    problem: 'spec.bundleEndpoint.endpointSPIFFEID is needed with the profile https_spiffe, and only there',
  },
  {
    what: 'an endpointSPIFFEID that is not a SPIFFE ID',
    spec: { trustDomain, bundleEndpoint: { ...spiffe, endpointSPIFFEID: 'https://partner.example' } },
    refusal: /endpointSPIFFEID.*should match/,
    problem: 'spec.bundleEndpoint.endpointSPIFFEID a SPIFFE ID begins with "spiffe://"',
  },
  {
    what: 'an endpointSPIFFEID without a path',
    spec: { trustDomain, bundleEndpoint: { ...spiffe, endpointSPIFFEID: 'spiffe://partner.example' } },
    refusal: /endpointSPIFFEID.*should match/,
    problem: 'spec.bundleEndpoint.endpointSPIFFEID is the ID of a trust domain',
  },
  {
    what: 'an endpoint of the trust domain itself without a bootstrapBundle',
    spec: { trustDomain, bundleEndpoint: spiffe },
    refusal: /whose bundle is not known before the first fetch\. Give it as bootstrapBundle/,
    problem: 'spec.bootstrapBundle is missing',
  },
  {
    what: 'a bootstrapBundle for an endpoint of the web',
    spec: { trustDomain, bundleEndpoint: web, bootstrapBundle: bundle },
    refusal: /bootstrapBundle is for a bundleEndpoint with the profile https_spiffe/,
    problem: 'spec.bootstrapBundle is for a bundleEndpoint with the profile https_spiffe',
  },
  {
    what: 'a bootstrapBundle beside a bundle',
    spec: { trustDomain, bundle, bootstrapBundle: bundle },
    refusal: /bootstrapBundle is for a bundleEndpoint with the profile https_spiffe/,
    problem: 'spec.bootstrapBundle is for a bundleEndpoint with the profile https_spiffe',
  },
  {
    what: 'a caBundle for https_spiffe',
    spec: { trustDomain, bundleEndpoint: { ...spiffe, caBundle }, bootstrapBundle: bundle },
    refusal: /caBundle is for the profile https_web/,
    problem: 'spec.bundleEndpoint.caBundle is for the profile https_web',
  },
  {
    what: 'a caBundle that is not PEM',
    spec: { trustDomain, bundleEndpoint: { ...web, caBundle: 'AAAA' } },
    problem: 'spec.bundleEndpoint.caBundle cannot be read: there is no PEM block',
  },
  hintRow(
    'a refreshHint below 30s',
    { min: '29s' },
    /must be from 30s to 24h/,
    'spec.refreshHint.min is 29s; at least 30s is allowed',
  ),
  hintRow(
    'a refreshHint above 24h',
    { max: '24h1s' },
    /must be from 30s to 24h/,
    'spec.refreshHint.max is 24h1s; at most 24h is allowed',
  ),
  hintRow(
    'a refreshHint without a unit',
    { max: '60' },
    /max.*should match/,
    'spec.refreshHint.max is "60", not a duration such as 1h30m',
  ),
  // The signer takes the longer one for both.
  hintRow('a refreshHint with min above max', { min: '2h', max: '1h' }, /min must not be longer than max/),
];
