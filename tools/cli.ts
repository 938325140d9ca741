import { Command } from 'commander';
import { bundleFetch } from './commands/bundle-fetch.ts';
import { bundleShow } from './commands/bundle-show.ts';
import { bundleVerify } from './commands/bundle-verify.ts';
import { caAddJwtKey } from './commands/ca-add-jwt-key.ts';
import { caCreate } from './commands/ca-create.ts';
import { caCrossSign } from './commands/ca-cross-sign.ts';
import { caCsr } from './commands/ca-csr.ts';
import { caDoctor } from './commands/ca-doctor.ts';
import { caEvict } from './commands/ca-evict.ts';
import { caImport } from './commands/ca-import.ts';
import { caPrepare } from './commands/ca-prepare.ts';
import { caRestore } from './commands/ca-restore.ts';
import { caRoot } from './commands/ca-root.ts';
import { caRotate } from './commands/ca-rotate.ts';
import { caShow } from './commands/ca-show.ts';
import { caSign } from './commands/ca-sign.ts';
import { caStatus } from './commands/ca-status.ts';
import { caVerbs } from './commands/ca-verbs.ts';
import { caVerifyPreview } from './commands/ca-verify-preview.ts';
import { caWho } from './commands/ca-who.ts';
import { completion } from './commands/completion.ts';
import { dev } from './commands/dev.ts';
import { doctor } from './commands/doctor.ts';
import { explain } from './commands/explain.ts';
import { federation } from './commands/federation.ts';
import { helper } from './commands/helper.ts';
import { inspect } from './commands/inspect.ts';
import { inspectPcr } from './commands/inspect-pcr.ts';
import { migrateFromSpire } from './commands/migrate-spire.ts';
import { registration } from './commands/registration.ts';
import { signer } from './commands/signer.ts';
import { status } from './commands/status.ts';
import { token } from './commands/token.ts';
import { ui } from './commands/ui.ts';
import { version } from './commands/version.ts';
import { who } from './commands/who.ts';
import { workloadApi } from './commands/workload-api.ts';
import { withExamples } from './help.ts';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** Builds the whole tree of commands. */
export function buildProgram(terminal: Terminal, done: (exitCode: number) => void): Command {
  // Flags belong to the verb before them: those of `inspect pcr` must not be taken for those of `inspect`.
  const program = new Command('kubespiffe')
    .enablePositionalOptions()
    .description('kubespiffe gives pods SPIFFE identities by Pod Certificates. These are its tools.');
  withExamples(
    program,
    `
    # Make a CA and its pool
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org

    # See what a certificate says and whether it conforms to SPIFFE
    kubespiffe inspect credentials.pem`,
  );
  status(program, terminal);
  ui(program, terminal);
  doctor(program, terminal, done);
  const migrate = program.command('migrate').description('Bring registrations from other systems.');
  migrateFromSpire(migrate, terminal, done);
  const ca = program.command('ca').description('Make, show, rotate, import and restore the CAs that sign.');
  caCreate(ca, terminal);
  caShow(ca, terminal, done);
  caDoctor(ca, terminal, done);
  caImport(ca, terminal);
  caCsr(ca, terminal);
  caSign(ca, terminal);
  caRoot(ca, terminal);
  caCrossSign(ca, terminal);
  caAddJwtKey(ca, terminal);
  caRestore(ca, terminal);
  caStatus(ca, terminal);
  caPrepare(ca, terminal);
  caVerbs(ca, terminal);
  caRotate(ca, terminal);
  caVerifyPreview(ca, terminal);
  caWho(ca, terminal);
  caEvict(ca, terminal, done);
  const bundle = program.command('bundle').description('Show, fetch and verify what SVIDs are verified by.');
  bundleShow(bundle, terminal);
  bundleFetch(bundle, terminal);
  bundleVerify(bundle, terminal, done);
  federation(program, terminal, done);
  token(program, terminal);
  who(program, terminal, done);
  explain(program, terminal, done);
  registration(program, terminal, done);
  workloadApi(program, terminal);
  dev(program, terminal, done);
  helper(program, terminal);
  signer(program);
  inspectPcr(inspect(program, terminal, done), terminal, done);
  completion(program, terminal);
  version(program, terminal);
  program.helpCommand('help [command]', 'Help about any command.');
  return complete(program);
}

/** Runs one command line of the whole tree. */
export function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, buildProgram);
}
