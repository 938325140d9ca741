import { stringify } from 'yaml';
import type { JsonObject } from '../../spiffe/json.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { createListed } from '../cluster/lists.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes, usageError } from '../errors.ts';
import type { Note } from '../migrate/notes.ts';
import { migrateSpire, spireGroup } from '../migrate/spire.ts';
import { mark, type OutputFormat, outputOption, printObject } from '../output.ts';
import { type FileObject, readObjects } from '../registration/documents.ts';
import type { Terminal } from '../terminal.ts';

type Options = ClusterOptions & {
  file?: string[];
  cluster?: true;
  clusterDomain?: string;
  output?: OutputFormat;
};

const resources = {
  clusterspiffeids: 'ClusterSPIFFEID',
  clusterstaticentries: 'ClusterStaticEntry',
  clusterfederatedtrustdomains: 'ClusterFederatedTrustDomain',
};

/** `kubespiffe migrate spire`: the resources of the SPIRE controller manager as ours. */
export const migrateFromSpire: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'spire', {
    description:
      'Print the registrations of the SPIRE controller manager as ours.\n\n' +
      'ClusterSPIFFEIDs and ClusterStaticEntries become ClusterWorkloadRegistrations, and\n' +
      'ClusterFederatedTrustDomains become FederatedTrustDomains. Standard error says what was changed, what has no\n' +
      'counterpart, and why. Changes nothing in the cluster. Ends with 1 when something was left out.',
    examples: `
    # What is in a file
    kubespiffe migrate spire -f clusterspiffeids.yaml > registrations.yaml

    # What is in the cluster, and which pods would change their name
    kubespiffe migrate spire --cluster > registrations.yaml
    kubespiffe registration what-if -f registrations.yaml`,
    options: [withCluster],
  })
    .option('-f, --file <file...>', 'YAML or JSON, also several documents or a List; - is standard input.')
    .option('--cluster', 'Read the resources of the cluster.')
    .option('--cluster-domain <domain>', 'What templates call .ClusterDomain, such as cluster.local.')
    .addOption(outputOption('Print a List for programs, with the notes on standard error as always.'))
    .action(async (options: Options) => {
      if ((options.file === undefined) === (options.cluster === undefined)) {
        throw usageError('give either -f FILE or --cluster', 'see `kubespiffe migrate spire --help`');
      }
      const objects = options.file
        ? await readObjects(terminal, options.file)
        : await ofCluster(terminal, options);
      const { objects: made, notes } = migrateSpire(objects, options.clusterDomain);
      if (options.output)
        printObject(terminal, options.output, { apiVersion: 'v1', kind: 'List', items: made });
      else terminal.out(made.map((each) => stringify(each, { lineWidth: 0 })).join('---\n'));
      report(terminal, notes, objects.length, made.length);
      done(notes.some(({ severity }) => severity === 'left out') ? exitCodes.failed : exitCodes.ok);
    });

function ofCluster(terminal: Terminal, options: ClusterOptions): Promise<FileObject[]> {
  return withApi(options, terminal, async (api) => {
    const lists = Object.entries(resources).map(async ([name, kind]) => {
      const listed = createListed<JsonObject, JsonObject>({
        resource: { group: spireGroup, versions: ['v1alpha1'], name },
        fields: { metadata: { name: true }, spec: true },
        project: (wire) => wire,
      });
      await listed.fill(api);
      return [...listed.store.keys()].sort().map((name): FileObject => {
        const apiVersion = `${spireGroup}/v1alpha1`;
        const object = listed.store.get(name) ?? {};
        return { file: 'the cluster', apiVersion, kind, name, namespace: undefined, object, lineOf: () => 1 };
      });
    });
    return (await Promise.all(lists)).flat();
  });
}

function report(terminal: Terminal, notes: readonly Note[], read: number, made: number): void {
  for (const { object, severity, message } of notes) {
    const level = mark(terminal, severity === 'left out' ? 'bad' : 'doubtful', severity);
    terminal.err(`${level}: ${printable(object)}: ${printable(message)}\n`);
  }
  terminal.err(`${read} objects read, ${made} written\n`);
}
