import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { askDev } from '../../dev/control.ts';
import { messageOf } from '../../spiffe/errors.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { folderOf, withFolder, workloadOf } from '../dev-options.ts';
import { usageError } from '../errors.ts';

/** As a shell has it: 128 and the number of the signal. */
const signalled = 128;

/** `kubespiffe dev run shop/web -- CMD`: a program as a workload of the `kubespiffe dev` that runs. */
export const devRun: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'run', {
    description:
      'Run a program as a workload.\n\n' +
      'It finds its identity in the environment: SPIFFE_ENDPOINT_SOCKET is its Workload API, SPIFFE_CREDENTIALS the\n' +
      'folder with its files, SPIFFE_TOKEN_ENDPOINT the token endpoint. The exit code is that of the program.',
    examples: `
    # A server as shop/web
    kubespiffe dev run shop/web -- node server.js`,
    options: [withFolder],
  })
    .argument('<workload>', 'Such as shop/web. Need not be one that `kubespiffe dev` was started with.')
    .argument('<command...>', 'The program and its arguments.')
    .passThroughOptions()
    .action(async (name: string, words: readonly string[], options: { readonly folder?: string }) => {
      const [file = '', ...args] = words[0] === '--' ? words.slice(1) : words;
      const answer = await askDev(folderOf(options, terminal), {
        ask: 'workload',
        workloads: [workloadOf(name)],
      });
      const { workload, tokenEndpoint, trustDomain } = answer;
      const env = {
        ...terminal.env,
        SPIFFE_ENDPOINT_SOCKET: workload?.socket.uri,
        SPIFFE_CREDENTIALS: workload?.folder,
        SPIFFE_ID: workload?.spiffeId,
        SPIFFE_TRUST_DOMAIN: trustDomain,
        SPIFFE_TOKEN_ENDPOINT: tokenEndpoint,
      };
      const child = spawn(file, args, { stdio: 'inherit', env });
      // Ctrl-C reaches both. The program decides what comes of it.
      const forward = (signal: NodeJS.Signals) => void child.kill(signal);
      process
        .on('SIGINT', () => undefined)
        .on('SIGTERM', forward)
        .on('SIGHUP', forward);
      const [code, signal] = await once(child, 'exit').catch((error: unknown) => {
        throw usageError(`${file} could not be started: ${messageOf(error)}`);
      });
      done(code ?? signalled + (constants.signals[signal as NodeJS.Signals] ?? 0));
    });
