/**
 * The `kubespiffe` command. The signer is a long-lived process with a memory budget, so it is started before any of
 * what only people at a terminal need is loaded; and so are the sidecars of pods.
 */
const argv = process.argv.slice(2);
const [verb, ...rest] = argv;

if (verb === 'signer') {
  // Node opens a debugger at SIGUSR1 unless the program listens for it. The signer does, once it is loaded and configured.
  process.on('SIGUSR1', () => undefined);
  const { runSigner } = await import('../signer/process.ts');
  process.exitCode = await runSigner(rest);
} else {
  if (verb === 'workload-api' || verb === 'helper') await import('./small-process.ts');
  const { processTerminal } = await import('./terminal.ts');
  const terminal = processTerminal();
  if (verb === '__complete') {
    // Asked by a shell while a person waits: nothing of the commands is loaded.
    const { completeLive, timeoutMs } = await import('./completion/live.ts');
    // A TLS handshake or a DNS request under way would keep the shell waiting beyond that.
    setTimeout(() => process.exit(), timeoutMs).unref();
    for (const name of await completeLive(rest, terminal)) terminal.out(`${name}\n`);
  } else {
    const add = await commandAlone();
    const { runAlone } = await import('./run.ts');
    process.exitCode = add
      ? await runAlone(add, argv, terminal)
      : await (await import('./cli.ts')).runCli(argv, terminal);
  }
}

/** The commands that people and pods wait for are loaded without the others. */
async function commandAlone() {
  if (verb === 'workload-api') return (await import('./commands/workload-api.ts')).workloadApi;
  if (verb === 'helper') return (await import('./commands/helper.ts')).helper;
  if (verb === 'dev') return (await import('./commands/dev.ts')).dev;
  return undefined;
}
