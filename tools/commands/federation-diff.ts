import { webContext } from '../../client/bundle-endpoint.ts';
import { tryToGet } from '../../signer/federation/attempt.ts';
import { countingOnes, type FederatedTrustDomain } from '../../signer/federation/federated-trust-domain.ts';
import type { ForeignBundle } from '../../signer/federation/foreign-bundle.ts';
import { heldBundle } from '../../signer/federation/foreign-bundle.ts';
import { clusterTrustBundles } from '../../signer/kube/resources.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { type ClusterTrustBundle, metadataFields } from '../../signer/kube/types.ts';
import { explainFederation, federationOutcomes } from '../../signer/observe/federation-outcomes.ts';
import { readableCertificates } from '../../spiffe/pki/certificate.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { createListed } from '../cluster/lists.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, exitCodes } from '../errors.ts';
import { type AddressOptions, addressRuleOf, withAllowedAddresses } from '../federation/allowed-addresses.ts';
import { type BundleKey, bundleKeys, nameOfKey } from '../federation/bundle-keys.ts';
import { isEverywhere, type KeyPlaces, placesOf } from '../federation/diff.ts';
import { federationViewer, readFederation, resourceNamed } from '../federation/resources.ts';
import { mark, type OutputOptions, outputOption, printObject, table } from '../output.ts';
import type { Terminal } from '../terminal.ts';

type Options = ClusterOptions & AddressOptions & OutputOptions;

/** The difference between what a trust domain serves and what this cluster has of it, for programs. */
interface FederationDiff {
  readonly name: string;
  readonly trustDomain: string;
  readonly differs: boolean;
  readonly sequence: { readonly served: number | null; readonly stored: number | null };
  readonly clusterTrustBundle: string | null;
  readonly keys: readonly KeyPlaces[];
}

/** `kubespiffe federation diff`: what a trust domain serves now, beside what is stored and published here. */
export const federationDiff: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'diff', {
    description:
      'Compare what another trust domain serves now with what this cluster has of it.\n\n' +
      'Fetches the bundle from here, with all rules of the signer, and changes nothing. Ends with 1 when something\n' +
      'differs, or when the signer would not take the bundle.',
    examples: `
    # Has the rotation of a partner arrived?
    kubespiffe federation diff partner`,
    options: [withCluster, withAllowedAddresses, outputOption()],
  })
    .argument('<federated-trust-domain>', 'Its name, or the trust domain.')
    .action(async (name: string, options: Options) => {
      const addresses = addressRuleOf(options);
      const { resource, served, published } = await withApi(
        { ...options, role: federationViewer },
        terminal,
        async (api) => {
          const all = await readFederation(api);
          const resource = resourceNamed(all, name);
          const counting = countingOnes(all);
          const served = await servedBundle(resource, {
            // Only a signer knows it. It refuses what is of its own trust domain, as the conditions say.
            ownTrustDomain: '',
            resourceOf: (trustDomain: string) => counting.get(trustDomain),
            readTrustBundle: (bundle) => readTrustBundle(api, bundle),
            pool: { jwt: [], authorities: [], roots: [] },
            ...{ addresses, time: terminal, webContext },
          });
          return { resource, served, published: await publishedKeys(api, resource) };
        },
      );
      const stored = heldBundle(resource, Math.floor(terminal.now() / 1000));
      const keys = placesOf(bundleKeys(served), stored ? bundleKeys(stored) : [], published);
      const sequence = { served: served.sequence ?? null, stored: stored?.sequence ?? null };
      const diff: FederationDiff = {
        ...{ name: resource.name, trustDomain: resource.trustDomain },
        differs: sequence.served !== sequence.stored || !keys.every(isEverywhere),
        ...{ sequence, clusterTrustBundle: bundleNameIn(resource) ?? null, keys },
      };
      if (options.output) printObject(terminal, options.output, diff);
      else print(terminal, diff);
      done(diff.differs ? exitCodes.failed : exitCodes.ok);
    });

const bundleNameIn = ({ status: { clusterTrustBundle: name } }: FederatedTrustDomain) =>
  typeof name === 'string' ? name : undefined;

async function publishedKeys(api: Transport, resource: FederatedTrustDomain): Promise<BundleKey[]> {
  const name = bundleNameIn(resource);
  const pem = name === undefined ? undefined : await readTrustBundle(api, name);
  return pem?.ok ? bundleKeys({ roots: readableCertificates(pem.value), jwtKeys: new Map() }) : [];
}

/** The PEM of a ClusterTrustBundle. Throws what the transport throws. */
async function readTrustBundle(api: Transport, name: string): Promise<Result<string>> {
  const listed = createListed<ClusterTrustBundle, string>({
    resource: clusterTrustBundles,
    name,
    fields: { metadata: metadataFields, spec: true },
    project: ({ spec }) => spec.trustBundle,
  });
  await listed.fill(api);
  const [pem] = [...listed.store.values()];
  return pem === undefined ? failure(`there is no ClusterTrustBundle ${name}`) : success(pem);
}

async function servedBundle(
  resource: FederatedTrustDomain,
  needs: Parameters<typeof tryToGet>[3],
): Promise<ForeignBundle> {
  const { origin } = resource;
  if (!origin.ok)
    throw new CliError('BUNDLE_INVALID', `FederatedTrustDomain ${resource.name}: ${origin.reason}`);
  const { outcome } = await tryToGet(resource, origin.value, undefined, needs, new AbortController().signal);
  if (outcome.kind === 'taken') return outcome.bundle;
  const isReached = federationOutcomes[outcome.reason].condition === 'BundleInvalid';
  throw new CliError(
    isReached ? 'BUNDLE_INVALID' : 'BUNDLE_UNREACHABLE',
    explainFederation(outcome.reason, outcome.detail),
    'the signer may reach the endpoint over another network: `kubespiffe federation show` shows what it found',
  );
}

function print(
  terminal: Terminal,
  { trustDomain, differs, sequence, clusterTrustBundle, keys }: FederationDiff,
): void {
  const yes = (is: boolean | null) => (is === null ? '-' : is ? 'yes' : 'no');
  terminal.out(
    `Trust domain:   ${printable(trustDomain)}\n` +
      `Sequence:       served ${sequence.served ?? '(none)'}, stored ${sequence.stored ?? '(none)'}\n` +
      `Published as:   ${printable(clusterTrustBundle ?? '(not published)')}\n\n`,
  );
  const rows = keys.map(({ key, served, stored, published }) => [
    printable(nameOfKey(key)),
    ...[yes(served), yes(stored), yes(published)],
  ]);
  if (rows.length > 0) terminal.out(`${table([['KEY', 'SERVED', 'STORED', 'PUBLISHED'], ...rows])}\n`);
  terminal.out(
    differs
      ? `${mark(terminal, 'doubtful', 'They differ.')} \`kubespiffe federation refresh\` has the signer fetch now.\n`
      : `${mark(terminal, 'good', 'They are the same.')}\n`,
  );
}
