/** Where everything of the endpoint is. */
export const paths = {
  exchange: '/token',
  shortForm: '/jwt-svid',
  x509Svid: '/x509-svid',
  discovery: '/.well-known/openid-configuration',
  keys: '/keys',
  bundle: '/bundle',
  clusterBundle: '/bundle/cluster',
  bundles: '/bundles',
  bundleOf: '/bundles/:trustDomain',
  roots: '/roots.pem',
  openApi: '/openapi.json',
} as const;

/** What is issued at a path. All others have documents, or nothing. */
export const svidAt: ReadonlyMap<string, 'token' | 'x509-svid'> = new Map([
  [paths.exchange, 'token'],
  [paths.shortForm, 'token'],
  [paths.x509Svid, 'x509-svid'],
]);
