import { readFile } from 'node:fs/promises';
import { KubespiffeError, messageOf } from '../../spiffe/errors.ts';
import { publicJwkOf } from '../../spiffe/jwk.ts';
import type { TrustBundle } from '../trust-bundle.ts';
import type { Content, Password } from './config.ts';
import { keystoreOf, type Material, pemOf, truststoreOf } from './material.ts';
import { passwordDemand, passwordOf } from './password.ts';
import type { Pkcs12Content } from './pkcs12.ts';
import type { HelperSource } from './source.ts';

/** What a file holds now. */
export interface Rendered {
  readonly bytes: string | Uint8Array;
  /** When it has to be made again although nothing has changed, in milliseconds since the epoch. */
  readonly renewAt?: number;
}

/**
 * Makes a function that renders the content of a file. The same material gives the same bytes.
 *
 * The function throws KubespiffeError CONFIG_INVALID for a password file that cannot be used; BUNDLE_INVALID where no JWT keys are
 * known; what the source of tokens throws.
 */
export function createRenderer(content: Content): (source: HelperSource) => Promise<Rendered> {
  switch (content.kind) {
    case 'pem':
      return async (source) => ({ bytes: pemOf(content.parts, source.material()) });
    case 'keystore':
      return pkcs12Renderer(content.password, keystoreOf);
    case 'truststore':
      return pkcs12Renderer(content.password, (material) => truststoreOf(material, content.federated));
    case 'jwtSvid':
      return (source) => tokenOf(source, content.audience);
    case 'jwks':
      return async (source) => {
        const { svid, bundles } = source.material();
        const { trustDomain } = svid.id;
        const bundle = bundles.get(trustDomain);
        if (bundle && bundle.jwtKeys.size > 0) return { bytes: jwksOf(bundle) };
        throw new KubespiffeError('BUNDLE_INVALID', `no JWT keys of ${trustDomain} are known`);
      };
    case 'jwtBundles':
      return async (source) => ({ bytes: jwtBundlesOf(source.material()) });
  }
}

/** Salts are random, so the file is made again only when what is in it has changed. */
function pkcs12Renderer(password: Password, contentOf: (material: Material) => Pkcs12Content) {
  let last: { readonly content: string; readonly bytes: Uint8Array } | undefined;
  return async (source: HelperSource): Promise<Rendered> => {
    const secret = await readPassword(password);
    const wanted = contentOf(source.material());
    const content = JSON.stringify([secret, wanted.key?.chain, wanted.trusted]);
    if (content !== last?.content) {
      // Loads pkijs in 0.1 s of CPU.
      const { encodePkcs12 } = await import('./pkcs12.ts');
      last = { content, bytes: await encodePkcs12(wanted, secret) };
    }
    return { bytes: last.bytes };
  };
}

async function readPassword(password: Password): Promise<string> {
  if ('text' in password) return password.text;
  const { file } = password;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? messageOf(error);
    throw new KubespiffeError('CONFIG_INVALID', `the password file ${file} cannot be read (${reason})`);
  }
  const [line = ''] = text.split(/\r?\n/, 1);
  const secret = passwordOf(line);
  if (secret !== undefined) return secret;
  const hint = `write ${passwordDemand} in its first line`;
  throw new KubespiffeError('CONFIG_INVALID', `the password file ${file} has no password that can be used`, {
    hint,
  });
}

async function tokenOf({ tokens }: HelperSource, audience: readonly string[]): Promise<Rendered> {
  if (!tokens) throw new TypeError('a source without tokens');
  const { token } = await tokens.get(audience);
  return { bytes: token, renewAt: tokens.renewAtMs(audience) };
}

function jwksOf({ jwtKeys }: TrustBundle): string {
  return JSON.stringify({ keys: [...jwtKeys].map(([kid, key]) => ({ ...publicJwkOf(key), kid })) });
}

function jwtBundlesOf({ bundles }: Material): string {
  const withKeys = [...bundles].filter(([, { jwtKeys }]) => jwtKeys.size > 0);
  if (withKeys.length === 0)
    throw new KubespiffeError('BUNDLE_INVALID', 'no JWT keys of any trust domain are known');
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return JSON.stringify(Object.fromEntries(withKeys.map(([name, bundle]) => [name, base64(jwksOf(bundle))])));
}
