import { textOf } from '../../spiffe/pki/text.ts';
import { formatOf, readTrustMaterial } from '../bundle/formats.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes, usageError } from '../errors.ts';
import { byteOrder, inspectContent } from '../inspect/detect.ts';
import { conforms, finding, type Inspection, printInspection } from '../inspect/report.ts';
import { type OutputOptions, outputOption } from '../output.ts';
import { lookInto, nameOfInput, readInput } from '../read-input.ts';
import { contextOf } from './inspect.ts';

interface Options extends OutputOptions {
  trustDomain?: string;
}

/** `kubespiffe bundle verify`: whether others can use a bundle, clause by clause. */
export const bundleVerify: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'verify', {
    description:
      'Check that a bundle conforms to its standard and that readers will accept it.\n\n' +
      'Accepts SPIFFE bundles, JWK sets and PEM roots. Ends with 1 when a MUST is not fulfilled.',
    examples: `
    # What an endpoint serves
    curl -s https://spiffe.example.org/bundle | kubespiffe bundle verify - --trust-domain example.org

    # Every clause, for a program
    kubespiffe bundle verify bundle.json -o json`,
  })
    .argument('<file>', 'The bundle; - is standard input.')
    .option('--trust-domain <name>', 'Trust domain that the roots should be of.')
    .addOption(outputOption())
    .action(async (file: string, { trustDomain, output }: Options) => {
      const content = await readInput(terminal, file);
      const context = await contextOf(terminal, { ...(trustDomain !== undefined && { trustDomain }) });
      const inspection = lookInto(file, () => inspectionOf(content, context));
      printInspection(terminal, inspection, nameOfInput(file), output);
      done(conforms(inspection) ? exitCodes.ok : exitCodes.failed);
    });

/** What `inspect` says, and before it whether a reader takes the whole. */
function inspectionOf(content: Buffer, context: Parameters<typeof inspectContent>[1]): Inspection {
  if (content.length === 0) throw usageError('there is nothing in it', 'give a file with a bundle');
  const format = formatOf(textOf(content));
  const read = readTrustMaterial(content);
  const demand = 'a reader takes it';
  // The keys of a SPIFFE bundle have a section each, which says so.
  const ignored = read.ok && format === 'jwks' ? read.value.ignored : [];
  const head = {
    title: 'As a whole',
    facts: {
      Format: { spiffe: 'SPIFFE bundle', jwks: 'JWK set', pem: 'PEM' }[format],
      Roots: read.ok ? String(read.value.roots.length) : '?',
      'JWT keys': read.ok ? [...read.value.jwtKeys.keys()].join(', ') || '(none)' : '?',
    },
    findings: [
      finding('must', 'RFC 7517; RFC 8259', demand, read.ok ? undefined : read.reason),
      ...(format === 'jwks' ? [byteOrder(content, 'object')] : []),
      ...ignored.map((reason) => finding('should', 'RFC 7517 5', '', `${reason}, so the key is ignored`)),
    ],
  };
  if (!read.ok || format === 'jwks') return { kind: head.facts.Format, sections: [head] };
  const { kind, sections } = inspectContent(content, context);
  return { kind, sections: [head, ...sections] };
}
