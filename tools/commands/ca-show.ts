import { printable } from '../../spiffe/pki/text.ts';
import { withApi, withCluster } from '../api.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes } from '../errors.ts';
import {
  colons,
  fromNow,
  mark,
  type OutputOptions,
  outputOption,
  printObject,
  span,
  table,
} from '../output.ts';
import { type AuthorityReport, type PoolReport, reportOf } from '../pool/pool-report.ts';
import { type PoolOptions, requireSecret, withSecretName } from '../pool/pool-secret.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends PoolOptions, OutputOptions {
  trustDomain?: string;
}

/** `kubespiffe ca show`: what is in a pool, which authority signs, and what is wrong with it. */
export const caShow: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'show', {
    description:
      'Show the CAs and JWT keys of a pool, which of them sign, and what is wrong.\n\n' +
      'Private keys are never shown. Ends with 1 when the pool cannot sign.',
    examples: `
    # The pool as a table
    kubespiffe ca show

    # When does what signs end?
    kubespiffe ca show -o json | jq -r '.authorities[] | select(.signs and .root).notAfter'`,
    options: [withSecretName, withCluster],
  })
    .option('--trust-domain <name>', 'Check the pool against this trust domain instead of its own.')
    .addOption(outputOption())
    .action(async (options: Options) => {
      const secret = await withApi(options, terminal, (api) => requireSecret(api, options));
      const report = reportOf(secret, options, Math.floor(terminal.now() / 1000));
      if (options.output) printObject(terminal, options.output, report);
      else printReport(terminal, report);
      done(report.canSign ? exitCodes.ok : exitCodes.failed);
    });

function printReport(terminal: Terminal, report: PoolReport): void {
  const now = terminal.now() / 1000;
  const { namespace, name, trustDomain, sequence } = report;
  terminal.out(
    `Pool:           ${namespace}/${name}\n` +
      `Trust domain:   ${trustDomain ?? '(none)'}\n` +
      `Sequence:       ${sequence ?? '?'}\n` +
      `Can sign:       ${report.canSign ? mark(terminal, 'good', 'yes') : mark(terminal, 'bad', 'no')}\n\n`,
  );
  if (report.authorities.length > 0) {
    const rows = report.authorities.map((each) => [
      each.id,
      each.kind,
      each.tainted ? `${each.state} (tainted)` : each.state,
      each.keyType ?? '?',
      each.signs ? 'yes' : 'no',
      endOf(each, now),
      each.kid?.slice(0, 16) ?? each.root?.sha256.slice(0, 16) ?? '?',
    ]);
    const titles = ['ID', 'KIND', 'STATE', 'KEY', 'SIGNS', 'REMAINING', 'ROOT (SHA-256) OR KID'];
    terminal.out(table([titles, ...rows]));
  }
  for (const each of report.authorities) {
    if (!each.root && each.kid === null && each.warnings.length === 0) continue;
    terminal.out(`\n${mark(terminal, 'title', each.id)}\n`);
    if (each.kid !== null) terminal.out(`  Key ID        ${each.kid}\n`);
    if (each.signsFrom !== null) terminal.out(`  Signs from    ${each.signsFrom}\n`);
    if (each.deactivatedAt !== null) terminal.out(`  No longer signs since ${each.deactivatedAt}\n`);
    for (const [title, certificate] of [
      ...(each.root ? [['root', each.root] as const] : []),
      ...each.intermediates.map((one, i) => [`intermediate ${i + 1}`, one] as const),
    ]) {
      const end = Date.parse(certificate.notAfter) / 1000;
      terminal.out(
        `  ${title}: ${printable(certificate.subject || '(no subject)')}\n` +
          `    SPIFFE ID     ${printable(certificate.spiffeId ?? '(none)')}\n` +
          `    Valid         ${certificate.notBefore} to ${certificate.notAfter} (ends ${fromNow(end, now)})\n` +
          `    Serial        ${certificate.serial}\n` +
          `    Fingerprint   ${colons(certificate.sha256)}\n`,
      );
    }
    for (const warning of each.warnings)
      terminal.out(`  ${mark(terminal, 'doubtful', 'warning')}: ${printable(warning)}\n`);
  }
  for (const problem of report.problems) {
    terminal.out(
      `\n${mark(terminal, 'bad', 'problem')}: ${problem.field}: ${printable(problem.what)}\n  remedy: ${problem.remedy}\n`,
    );
  }
}

/** What is left of the chain. JWT keys do not end. */
function endOf(authority: AuthorityReport, now: number): string {
  if (authority.kid !== null) return '-';
  return authority.notAfter === null ? '?' : remaining(Date.parse(authority.notAfter) / 1000, now);
}

function remaining(end: number, now: number): string {
  return end > now ? span(end - now) : `expired ${span(now - end)} ago`;
}
