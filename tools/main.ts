/**
 * The `kubespiffe` command. The signer is a long-lived process with a memory budget, so it is started before any of
 * what only people at a terminal need is loaded; and so are the sidecars of pods.
 */
const [verb, ...rest] = process.argv.slice(2);

if (verb === 'signer') {
  // Node opens a debugger at SIGUSR1 unless the program listens for it. The signer does, once it is loaded and configured.
  process.on('SIGUSR1', () => undefined);
  const { runSigner } = await import('../signer/process.ts');
  process.exitCode = await runSigner(rest);
} else if (verb === '__complete') {
  // Asked by a shell while a person waits: nothing of the commands is loaded.
  const { completeLive } = await import('./completion/live.ts');
  const { processTerminal } = await import('./terminal.ts');
  const terminal = processTerminal();
  for (const name of await completeLive(rest, terminal)) terminal.out(`${name}\n`);
} else if (verb === 'workload-api' || verb === 'helper') {
  await import('./small-process.ts');
  const { runSidecar } = await import('./sidecar.ts');
  const { processTerminal } = await import('./terminal.ts');
  process.exitCode = await runSidecar(process.argv.slice(2), processTerminal());
} else if (verb === 'dev') {
  const { runDev } = await import('./dev.ts');
  const { processTerminal } = await import('./terminal.ts');
  process.exitCode = await runDev(process.argv.slice(2), processTerminal());
} else {
  const { runCli } = await import('./cli.ts');
  const { processTerminal } = await import('./terminal.ts');
  process.exitCode = await runCli(process.argv.slice(2), processTerminal());
}
