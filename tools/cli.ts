import { Command } from 'commander';
import { type AddCommand, addCommand, type Done, examplesOf } from './command.ts';
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
import { explainDenial } from './commands/explain-denial.ts';
import { explainPod } from './commands/explain-pod.ts';
import { explainToken } from './commands/explain-token.ts';
import { federationCheck } from './commands/federation-check.ts';
import { federationDiff } from './commands/federation-diff.ts';
import { federationInvite } from './commands/federation-invite.ts';
import { federationList } from './commands/federation-list.ts';
import { federationRefresh } from './commands/federation-refresh.ts';
import { federationShow } from './commands/federation-show.ts';
import { helper } from './commands/helper.ts';
import { inspect } from './commands/inspect.ts';
import { inspectPcr } from './commands/inspect-pcr.ts';
import { migrateFromSpire } from './commands/migrate-spire.ts';
import { registrationLint } from './commands/registration-lint.ts';
import { registrationWhatIf } from './commands/registration-what-if.ts';
import { signer } from './commands/signer.ts';
import { status } from './commands/status.ts';
import { token } from './commands/token.ts';
import { ui } from './commands/ui.ts';
import { version } from './commands/version.ts';
import { who } from './commands/who.ts';
import { workloadApi } from './commands/workload-api.ts';
import { complete, runProgram } from './run.ts';
import type { Terminal } from './terminal.ts';

/** Builds the whole tree of commands. */
export function buildProgram(terminal: Terminal, done: Done): Command {
  // Flags belong to the verb before them: those of `inspect pcr` must not be taken for those of `inspect`.
  const program = new Command('kubespiffe')
    .enablePositionalOptions()
    .description('kubespiffe gives pods SPIFFE identities by Pod Certificates. These are its tools.');
  examplesOf.set(
    program,
    `
    # Make a CA and its pool
    kubespiffe ca create --ca-id ca-1 --trust-domain example.org

    # See what a certificate says and whether it conforms to SPIFFE
    kubespiffe inspect credentials.pem`,
  );
  const add = (to: Command, commands: readonly AddCommand[]) => {
    for (const each of commands) each(to, terminal, done);
  };
  const group = (name: string, description: string, commands: readonly AddCommand[]) =>
    add(addCommand(program, name, { description }), commands);
  add(program, [status, ui, doctor]);
  group('migrate', 'Bring registrations from other systems.', [migrateFromSpire]);
  group('ca', 'Make, show, rotate, import and restore the CAs that sign.', [
    caCreate,
    caShow,
    caDoctor,
    caImport,
    caCsr,
    caSign,
    caRoot,
    caCrossSign,
    caAddJwtKey,
    caRestore,
    caStatus,
    caPrepare,
    ...caVerbs,
    caRotate,
    caVerifyPreview,
    caWho,
    caEvict,
  ]);
  group('bundle', 'Show, fetch and verify trust bundles.', [bundleShow, bundleFetch, bundleVerify]);
  group('federation', 'Check, show and refresh the bundles of other trust domains, and invite them.', [
    federationCheck,
    federationList,
    federationShow,
    federationDiff,
    federationInvite,
    federationRefresh,
  ]);
  add(program, [token, who]);
  group('explain', 'Explain why a pod has its names, or none.', [explainPod, explainToken, explainDenial]);
  group('registration', 'Check registrations, and show what they would change.', [
    registrationLint,
    registrationWhatIf,
  ]);
  add(program, [workloadApi, dev, helper, signer]);
  inspectPcr(inspect(program, terminal, done), terminal, done);
  add(program, [completion, version]);
  program.helpCommand('help [command]', 'Help about any command.');
  return complete(program);
}

/** Runs one command line of the whole tree. */
export function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  return runProgram(argv, terminal, (done) => buildProgram(terminal, done));
}
