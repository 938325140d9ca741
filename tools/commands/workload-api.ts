import { once } from 'node:events';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type EndpointAddress, parseEndpointAddress } from '../../client/endpoint-address.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { openBundleSource } from '../../workload/bundle-source.ts';
import { openX509Source, type X509Source, type X509SourceOptions } from '../../workload/x509-source.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, usageError } from '../errors.ts';
import { abortAtSignal, type Terminal } from '../terminal.ts';
import { trustDomainFlag } from '../trust-domain.ts';

interface Options {
  credentials: readonly string[];
  trustDomain?: string;
  socket?: string;
  tokenEndpoint?: string;
  token?: string;
  bundle: readonly string[];
  check?: boolean;
}

/** While kubelet has not written the volume, or what is in it cannot be used. */
const retryMs = 1_000;
/** How long the socket waits, in milliseconds, for the first bundles of the token endpoint. */
const firstBundlesMs = 10_000;
const defaultSocket = 'unix:///run/workload-api/socket';
const collect = (value: string, earlier: readonly string[]) => [...earlier, value];

/** `kubespiffe workload-api`: the SPIFFE Workload API beside an application, until SIGTERM. */
export const workloadApi: AddCommand = (parent, terminal) =>
  addCommand(parent, 'workload-api', {
    description:
      'Serve the SPIFFE Workload API to the containers of a pod, until SIGTERM.\n\n' +
      'Runs as a sidecar container and delivers what kubelet mounts: certificate, key and roots, and each renewal\n' +
      'within a second. With --token-endpoint it delivers JWT-SVIDs too. It needs no privileges. Containers that mount\n' +
      'the folder of the socket get the identity of the pod.',
    examples: `
    # X509-SVIDs from the volume of the pod
    kubespiffe workload-api --credentials /run/spiffe --socket unix:///run/workload-api/socket

    # JWT-SVIDs too; the pod proves itself by its certificate
    kubespiffe workload-api --credentials /run/spiffe --token-endpoint https://kubespiffe-tokens.kubespiffe.svc

    # Two identities, and the roots of a federated trust domain
    kubespiffe workload-api --credentials /run/spiffe=internal --credentials /run/pod-identity=pod \\
      --bundle partner.example=/run/partner/roots.pem`,
  })
    .option(
      '--credentials <folder[=hint]>',
      'Folder with credentials.pem and roots.pem; repeat for several identities, the default one first. (default: /run/spiffe)',
      collect,
      [],
    )
    .option(
      '--trust-domain <name>',
      'Trust domain of all roots in roots.pem, for roots without a SPIFFE ID. (default: each root is of the one that it names)',
    )
    .option(
      '--socket <address>',
      `Where to listen: unix:///path, or tcp://IP:port of loopback. (default: SPIFFE_ENDPOINT_SOCKET, or ${defaultSocket})`,
    )
    .option(
      '--token-endpoint <url>',
      'Token endpoint that gives JWT-SVIDs, the keys that verify them, and the bundles of federated trust domains.',
    )
    .option(
      '--token <file>',
      'With --token-endpoint: ServiceAccount token that proves the pod, in place of its certificate.',
    )
    .option(
      '--bundle <domain=file>',
      'Roots (PEM) or SPIFFE bundle of another trust domain; repeat for several.',
      collect,
      [],
    )
    .option(
      '--check',
      'Only say whether a Workload API is served at --socket, for probes: ends with 1 if not.',
    )
    .action(async (options: Options) => {
      if (options.check) return check(addressOf(terminal, options));
      const stopping = abortAtSignal();
      try {
        await serve(terminal, options, stopping.signal);
      } catch (error) {
        // Ended while it waited for the volume.
        if (!stopping.signal.aborted) throw error;
      } finally {
        stopping.abort();
      }
    });

async function serve(terminal: Terminal, options: Options, signal: AbortSignal): Promise<void> {
  const address = addressOf(terminal, options);
  const tokenEndpoint = await openTokenEndpoint(options, terminal.env);
  const warn = (problem: unknown) => terminal.err(`warning: ${messageOf(problem)}\n`);

  const places = placesOf(options.credentials);
  const roots = { signal, ...rootsOptions(options) };
  const credentials: { source: X509Source; hint: string }[] = [];
  for (const { folder, hint } of places) {
    credentials.push({ source: await openWhenReady(folder, roots, warn), hint });
  }
  const [first, ...further] = credentials;
  if (!first || signal.aborted) return;
  const { source } = first;
  const federated = await openFederated(options.bundle, signal);

  // Loaded only where it is used: the gRPC library costs memory that no other command needs.
  const [{ createWorkloadApi }, { listen }, { createWorkloadSource }] = await Promise.all([
    import('../../workload/api/server.ts'),
    import('../../workload/api/listen.ts'),
    import('../../workload/api/workload-source.ts'),
  ]);
  const fetched = tokenEndpoint?.followBundles(source, signal);
  const workload = createWorkloadSource({
    credentials: [first, ...further],
    // Files that are configured count for more.
    bundles: [...(fetched ? [fetched] : []), ...federated],
    tokensOf: tokenEndpoint?.tokensOf,
    onProblem: warn,
  });
  // A program that reads the bundles once, at its start, would miss those that come a moment later.
  if (fetched) {
    const waited = AbortSignal.any([signal, AbortSignal.timeout(firstBundlesMs)]);
    await once(fetched.events, 'update', { signal: waited }).catch(() => undefined);
    if (signal.aborted) return;
  }
  await listen(createWorkloadApi({ source: workload, onProblem: warn }), address, signal);
  terminal.err(`serving the Workload API of ${source.svid.id.uri} at ${address.uri}\n`);
  if (!signal.aborted) await once(signal, 'abort');
}

/** @throws CliError when no server accepts a connection. */
async function check(address: EndpointAddress): Promise<void> {
  const socket =
    address.kind === 'unix'
      ? connect(address.path)
      : connect(address.port, address.host.replace(/^\[|\]$/g, ''));
  try {
    await once(socket, 'connect');
  } catch (error) {
    const hint = 'see the log of the sidecar container for the reason';
    throw new CliError('API_UNREACHABLE', `nothing is served at ${address.uri}: ${messageOf(error)}`, hint);
  } finally {
    socket.destroy();
  }
}

/** @throws CliError USAGE */
async function openTokenEndpoint({ tokenEndpoint, token }: Options, env: Terminal['env']) {
  if (tokenEndpoint === undefined) {
    if (token === undefined) return undefined;
    throw usageError('--token is for --token-endpoint', 'give both, or leave it out');
  }
  // Loaded only where it is used: HTTPS costs memory too.
  const [{ endpointUrl }, { followEndpointBundles }, { tokensFromEndpoint }] = await Promise.all([
    import('../endpoint-url.ts'),
    import('../../workload/api/endpoint-bundles.ts'),
    import('../../workload/api/token-endpoint.ts'),
  ]);
  const endpoint = endpointUrl(tokenEndpoint, 'https://kubespiffe-tokens.kubespiffe.svc');
  return {
    followBundles: (own: X509Source, signal: AbortSignal) =>
      followEndpointBundles({ endpoint, own, tokenFile: token, env }, signal),
    tokensOf: (source: X509Source) => tokensFromEndpoint(source, { endpoint, tokenFile: token, env }),
  };
}

function addressOf(terminal: Terminal, { socket }: Options): EndpointAddress {
  const uri = socket ?? terminal.env.SPIFFE_ENDPOINT_SOCKET ?? defaultSocket;
  const address = parseEndpointAddress(uri);
  if (address.ok) return address.value;
  throw usageError(`--socket ${uri}: ${address.reason}`, `give an address such as ${defaultSocket}`);
}

/** @throws CliError USAGE */
function rootsOptions({ trustDomain }: Options): X509SourceOptions {
  return trustDomain === undefined ? {} : { trustDomain: trustDomainFlag(trustDomain) };
}

/** @throws CliError USAGE: two SVIDs of a workload never have the same hint (Workload API 5.2.1). */
function placesOf(credentials: readonly string[]) {
  const places = (credentials.length > 0 ? credentials : ['/run/spiffe']).map((text) => {
    const at = text.lastIndexOf('=');
    return at < 0 ? { folder: text, hint: '' } : { folder: text.slice(0, at), hint: text.slice(at + 1) };
  });
  const hints = places.map(({ hint }) => hint);
  if (places.length > 1 && (new Set(hints).size !== hints.length || hints.includes(''))) {
    const hint = 'write --credentials FOLDER=HINT for each, with hints that differ';
    throw usageError('several identities need hints that tell them apart', hint);
  }
  return places;
}

/** The volume of a pod may take a moment, and what is wrong with it may be corrected. */
async function openWhenReady(
  folder: string,
  options: X509SourceOptions & { readonly signal: AbortSignal },
  warn: (problem: unknown) => void,
): Promise<X509Source> {
  const { signal } = options;
  let warned: string | undefined;
  for (;;) {
    try {
      return await openX509Source(folder, options);
    } catch (error) {
      signal.throwIfAborted();
      if (messageOf(error) !== warned) warn(error);
      warned = messageOf(error);
      await pause(retryMs, undefined, { signal });
    }
  }
}

async function openFederated(bundles: readonly string[], signal: AbortSignal) {
  const files: Record<string, string[]> = {};
  for (const bundle of bundles) {
    const at = bundle.indexOf('=');
    const name = bundle.slice(0, Math.max(at, 0));
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) {
      throw usageError(`--bundle ${bundle}: ${trustDomain.reason}`, 'write --bundle TRUST_DOMAIN=FILE');
    }
    files[name] = [...(files[name] ?? []), resolve(bundle.slice(at + 1))];
  }
  return Object.keys(files).length === 0 ? [] : [await openBundleSource(process.cwd(), files, { signal })];
}
