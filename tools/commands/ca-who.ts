import { printable } from '../../spiffe/pki/text.ts';
import { withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { poolInvalid } from '../errors.ts';
import { fromNow, type OutputOptions, outputOption, printObject, table } from '../output.ts';
import { withBundleSuffix } from '../pool/cluster-roots.ts';
import { type ChangeOptions, readPool } from '../pool/pool-change.ts';
import { withSecretName } from '../pool/pool-secret.ts';
import type { Terminal } from '../terminal.ts';
import type { AuthorityHolders } from '../who/authority.ts';
import { readHolders } from '../who/read-holders.ts';

type Options = ChangeOptions & OutputOptions;

/** Pods that are listed by name; the rest is counted. */
const mostNamed = 20;

/** `kubespiffe ca who`: the pods that depend on an authority. */
export const caWho: AddCommand = (parent, terminal) =>
  addCommand(parent, 'who', {
    description:
      'List the pods that hold certificates of a CA.\n\n' +
      'It reads the requests of the pods, which Kubernetes deletes after about 15 min. Pods with older certificates are\n' +
      'listed as not known; the audit lines of the signer name the authority of each.',
    examples: `
    # Who still depends on the old CA?
    kubespiffe ca who ca-1`,
    options: [withSecretName, withCluster, withBundleSuffix, outputOption()],
  })
    .argument('<authority>', 'Id of the CA, as `kubespiffe ca status` shows it.')
    .action(async (id: string, options: Options) => {
      const { document, facts } = await readPool(options, terminal);
      const record = document.authorities.find((each) => each.id === id);
      const { trustDomain } = document;
      const read = await readHolders(options, terminal, record, { trustDomain, now: facts.now });
      if (!read) {
        const cas = document.authorities.filter(({ kind }) => kind === 'X509').map((each) => each.id);
        throw poolInvalid(`there is no CA ${id} in the pool`, `name one of ${cas.join(', ')}`);
      }
      const { report } = read;
      if (options.output) return printObject(terminal, options.output, { authority: id, ...report });
      print(terminal, id, report, facts.now);
    });

function print(terminal: Terminal, id: string, { holders, unknown }: AuthorityHolders, now: number): void {
  if (holders.length === 0) terminal.out(`No request shows a certificate of ${id} that has not ended.\n`);
  else {
    const rows = holders.map(({ namespace, pod, signer, notAfter }) => [
      printable(`${namespace}/${pod}`),
      printable(signer),
      fromNow(Date.parse(notAfter) / 1000, now),
    ]);
    terminal.out(table([['POD', 'SIGNER', 'CERTIFICATE ENDS'], ...rows]));
  }
  if (unknown.length === 0) return;
  const rest = unknown.length - mostNamed;
  const named = unknown.slice(0, mostNamed).map(printable).join(', ');
  terminal.out(
    `\nNot known of ${unknown.length} pods, whose requests were deleted: ${named}${rest > 0 ? ` and ${rest} more` : ''}\n`,
  );
}
