import { readFileSync } from 'node:fs';
import { type AddCommand, addCommand } from '../command.ts';
import { type OutputOptions, outputOption, printObject } from '../output.ts';

/** `kubespiffe version`. */
export const version: AddCommand = (parent, terminal) =>
  addCommand(parent, 'version', { description: 'Print the version.', options: [outputOption()] }).action(
    (options: OutputOptions) => {
      const found = versions();
      if (options.output) return printObject(terminal, options.output, found);
      terminal.out(`kubespiffe ${found.kubespiffe} (Node.js ${found.node}, OpenSSL ${found.openssl})\n`);
    },
  );

function versions() {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return { kubespiffe: String(version), node: process.versions.node, openssl: process.versions.openssl };
}
