import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { type OutputFormat, outputOption, printObject } from '../output.ts';
import type { Terminal } from '../terminal.ts';

/** `kubespiffe version`. */
export function version(parent: Command, terminal: Terminal): Command {
  return parent
    .command('version')
    .description('Print the version.')
    .addOption(outputOption())
    .action((options: { output?: OutputFormat }) => {
      const found = versions();
      if (options.output) return printObject(terminal, options.output, found);
      terminal.out(`kubespiffe ${found.kubespiffe} (Node.js ${found.node}, OpenSSL ${found.openssl})\n`);
    });
}

function versions() {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return { kubespiffe: String(version), node: process.versions.node, openssl: process.versions.openssl };
}
