import { once } from 'node:events';
import type { KubespiffeError } from '../../spiffe/errors.ts';
import { openBundleSource } from '../bundle-source.ts';
import type { JwtSource } from '../jwt-source.ts';
import { type BundleSource, mergeBundles } from '../trust-bundle.ts';
import { openX509Source, type X509Source } from '../x509-source.ts';
import type { HelperConfig } from './config.ts';
import type { Material } from './material.ts';

/** What the files are made of. */
export interface HelperSource {
  /** The newest that is good. */
  material(): Material;
  /** Undefined where no file has a JWT-SVID. */
  readonly tokens: JwtSource | undefined;
}

export interface SourceNeeds {
  /** Called after each change. */
  readonly onUpdate: () => void;
  /** Takes what is wrong while the last good values stay. */
  readonly onProblem: (problem: KubespiffeError) => void;
  /** Where HTTPS_PROXY and NO_PROXY are looked for. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends it. */
  readonly signal: AbortSignal;
}

interface Parts {
  readonly own: X509Source;
  readonly bundles: readonly BundleSource[];
  readonly tokens: JwtSource | undefined;
}

/**
 * Opens the source of a configuration, with as much as its files need.
 *
 * @throws KubespiffeError if it finds nothing valid at the start.
 */
export async function openSource({ source, files }: HelperConfig, needs: SourceNeeds): Promise<HelperSource> {
  const has = (...kinds: readonly string[]) => files.some(({ content }) => kinds.includes(content.kind));
  const wanted = { tokens: has('jwtSvid'), keys: has('jwks', 'jwtBundles') };
  // What is open ends when another part cannot be opened.
  const ended = new AbortController();
  const signal = AbortSignal.any([needs.signal, ended.signal]);
  try {
    const { own, bundles, tokens } =
      source.kind === 'folder'
        ? await openFolder(source, wanted, { ...needs, signal })
        : await connectSocket(source, wanted, signal);
    for (const { events } of [own, ...bundles]) {
      events.on('update', needs.onUpdate);
      events.on('problem', needs.onProblem);
    }
    tokens?.events.on('problem', needs.onProblem);
    return {
      material: () => ({
        svid: own.svid,
        bundles: mergeBundles([...bundles, own].map((each) => each.bundles)),
      }),
      tokens,
    };
  } catch (error) {
    ended.abort();
    throw error;
  }
}

type Source<Kind> = Extract<HelperConfig['source'], { kind: Kind }>;
interface Wanted {
  readonly tokens: boolean;
  /** Keys that verify JWT-SVIDs. */
  readonly keys: boolean;
}

async function openFolder(
  { credentials, trustDomain, bundles: files, tokenEndpoint: endpoint, tokenFile }: Source<'folder'>,
  wanted: Wanted,
  { env, onProblem, signal }: SourceNeeds,
): Promise<Parts> {
  const own = await openX509Source(credentials, {
    signal,
    ...(trustDomain !== undefined && { trustDomain }),
  });
  const bundles: BundleSource[] = [];
  if (Object.keys(files).length > 0) bundles.push(await openBundleSource(credentials, files, { signal }));
  if (endpoint && wanted.keys) {
    const { followEndpointBundles } = await import('../api/endpoint-bundles.ts');
    const keys = followEndpointBundles({ endpoint, own, tokenFile, env }, signal);
    const first = (name: 'update' | 'problem') => once(keys.events, name, { signal });
    const [problem] = await Promise.race([first('update'), first('problem')]);
    if (problem) onProblem(problem);
    // Files that are configured count for more.
    bundles.unshift(keys);
  }
  if (!endpoint || !wanted.tokens) return { own, bundles, tokens: undefined };
  const { tokensFromEndpoint } = await import('../api/token-endpoint.ts');
  return { own, bundles, tokens: tokensFromEndpoint(own, { endpoint, tokenFile, env }) };
}

async function connectSocket(
  { socket, hint }: Source<'socket'>,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Parts> {
  const { connectBundleSource, connectJwtSource, connectX509Source } = await import('../workload-api.ts');
  const identity = hint === undefined ? {} : { hint };
  return {
    own: await connectX509Source(socket, { ...identity, signal, timeoutMs: connectMs }),
    bundles: wanted.keys ? [await connectBundleSource(socket, { signal, timeoutMs: connectMs })] : [],
    tokens: wanted.tokens ? connectJwtSource(socket, identity) : undefined,
  };
}

/** Then the reason is reported, and the helper tries again. */
const connectMs = 10_000;
