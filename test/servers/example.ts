import { mkdtempSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../cluster/command.ts';
import { waitFor } from '../cluster/process.ts';
import { makeCa, type TestCa } from '../spiffe/pki/authorities.ts';
import { type Credentials, credentialsFor, swap } from '../workload/credentials.ts';
import { type Pod, startPod } from './pod.ts';

const root = join(import.meta.dirname, '../..');
const kubespiffe = join(root, 'bin/kubespiffe');

/** The client that every example lets in, and one that none does. */
export const webId = 'spiffe://example.org/ns/shop/sa/web';
export const otherId = 'spiffe://example.org/ns/shop/sa/other';

/** Where the pods mount their folder. */
const configFolder = '/run/config';

/** A folder of manifests/examples/servers, and how its servers are run and asked. */
export interface ServerExample {
  readonly name: string;
  readonly folder: string;
  readonly serverId: string;
  readonly user: string;
  /** Folders that the server writes. */
  readonly writable: readonly string[];
  /** Runs before the servers, once the helper has written its files. */
  readonly prepare?: (pod: Pod) => Promise<unknown>;
  readonly servers: Readonly<Record<string, readonly string[]>>;
  /** A request with `credentials.pem` and `roots.pem` of a folder. It ends with an exit code other than 0 when refused. */
  readonly request: (folder: string) => readonly string[];
  /** A program that answers the same to `statement`, each time that it reads it from its standard input. */
  readonly session?: { readonly command: (folder: string) => readonly string[]; readonly statement: string };
  /** What the client with `webId` is answered. */
  readonly answer: RegExp;
  /** What a client with another ID is told. Undefined where the server does not read SPIFFE IDs. */
  readonly refusal: RegExp | undefined;
  /** Further requests that end for such a client in the same way. */
  readonly alsoRefused?: readonly ServerExample['request'][];
  /** Where it does not read them: the same request without the password that it asks for as well. */
  readonly requestWithoutPassword?: (folder: string) => readonly string[];
}

/** An example that runs, with kubelet's part played by the test. */
export interface RunningExample extends AsyncDisposable {
  readonly ca: TestCa;
  /** Replaces credentials and roots in the volume of the server, as kubelet does. */
  readonly renewServer: (credentials: Credentials, roots: string) => void;
  /** What the loop uses from its next request on. */
  readonly renewClient: (credentials: Credentials, roots: string) => void;
  /** One request with these credentials; rejects when it is refused. */
  readonly ask: (
    credentials: Pick<Credentials, 'pem'>,
    roots: string,
    request?: ServerExample['request'],
  ) => Promise<string>;
  /** The request in a loop, as the client with `webId`, until `stop`, which gives a line for each. */
  readonly askInLoop: () => { count: () => number; stop: () => Promise<string[]> };
  /** Opens a session with one statement, as the client with `webId`. `askAgain` sends another and gives all answers. */
  readonly openSession?: () => Promise<{ askAgain: () => Promise<string[]> }>;
}

export async function startExample(example: ServerExample, parent: string): Promise<RunningExample> {
  const ca = await makeCa();
  const files = (credentials: Pick<Credentials, 'pem'>, roots: string) => ({
    'credentials.pem': credentials.pem,
    'roots.pem': roots,
  });
  const serverVolume = await makeVolume(parent, example.user);
  swap(serverVolume, files(await credentialsFor(example.serverId, ca), ca.pem));
  const config = join(root, 'manifests/examples/servers', example.folder);
  const pod = await startPod(parent, {
    mounts: { '/run/spiffe': serverVolume, [configFolder]: config },
    writable: ['/run/tls', ...example.writable],
    user: example.user,
  });
  const helperCommand = [kubespiffe, 'helper', '--config', join(configFolder, 'helper.yaml')];
  await pod.run([...helperCommand, '--once']);
  await example.prepare?.(pod);
  const servers = Object.entries(example.servers).map(([name, command]) => pod.start(name, command));
  const helper = pod.start('helper', helperCommand);
  const ask = (folder: string, request = example.request) => pod.run(request(folder), 'root');
  const newFolder = (credentials: Pick<Credentials, 'pem'>, roots: string) => {
    const folder = mkdtempSync(join(parent, 'client-'));
    for (const [name, text] of Object.entries(files(credentials, roots))) {
      writeFileSync(join(folder, name), text, { mode: 0o600 });
    }
    return folder;
  };
  let client = newFolder(await credentialsFor(webId, ca), ca.pem);
  await waitFor('the servers', () => ask(client).then(() => true), {
    needs: [...servers, helper],
  });
  const openSession = async ({ command, statement }: NonNullable<ServerExample['session']>) => {
    const mark = join(parent, `${example.name} asks again`);
    const script =
      'mark=$1; shift; (echo "$0"; while [ ! -e "$mark" ]; do sleep 0.1; done; echo "$0") | "$@"';
    const session = pod.start('session', ['sh', '-c', script, statement, mark, ...command(client)], 'root');
    await waitFor('an answer', () => example.answer.test(session.lastLines()), { needs: [session] });
    return {
      async askAgain() {
        writeFileSync(mark, '');
        await session.exited;
        return session.lastLines().split('\n');
      },
    };
  };
  return {
    ca,
    renewServer: (credentials, roots) => swap(serverVolume, files(credentials, roots)),
    renewClient(credentials, roots) {
      client = newFolder(credentials, roots);
    },
    ask: (credentials, roots, request) => ask(newFolder(credentials, roots), request),
    askInLoop() {
      const lines: string[] = [];
      let isAsking = true;
      const loop = async () => {
        while (isAsking) {
          lines.push(
            await ask(client).then(
              (answer) => answer.trim(),
              (error: Error) => `failed: ${error.message}`,
            ),
          );
        }
      };
      const loops = [loop(), loop()];
      return {
        count: () => lines.length,
        async stop() {
          isAsking = false;
          await Promise.all(loops);
          return lines;
        },
      };
    },
    ...(example.session && { openSession: openSession.bind(undefined, example.session) }),
    [Symbol.asyncDispose]: () => pod[Symbol.asyncDispose](),
  };
}

/** A folder whose files the group of the user may read, as kubelet makes it with `fsGroup`. */
async function makeVolume(parent: string, user: string): Promise<string> {
  const volume = await mkdtemp(join(parent, 'volume-'));
  await chown(volume, 0, Number(await runCommand('id', '-g', user)));
  await chmod(volume, 0o2755);
  return volume;
}
