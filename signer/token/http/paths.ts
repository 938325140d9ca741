/** Where everything of the endpoint is. */
export const paths = {
  exchange: '/token',
  shortForm: '/jwt-svid',
  x509Svid: '/x509-svid',
  discovery: '/.well-known/openid-configuration',
  keys: '/keys',
  bundle: '/bundle',
  roots: '/roots.pem',
  openApi: '/openapi.json',
} as const;
