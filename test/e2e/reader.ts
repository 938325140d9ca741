import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { it } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { helmBinary } from '../cluster/helm.ts';
import { startNode } from '../cluster/node.ts';
import { openPrograms, type Programs } from '../cluster/programs.ts';
import {
  type Block,
  blocksBelow,
  blocksOf,
  checkout,
  missingLine,
  type Page,
  readPage,
} from '../docs/markdown.ts';

/** A block of a page has failed when it takes longer. */
const blockEndsWithinMs = 240_000;

/** Somebody who follows pages in a checkout of their own, with kubectl and helm for one cluster. */
export interface Reader {
  /** The checkout: manifests and command. What pages write is written here. */
  readonly folder: string;
  /** Puts a program on the PATH, in place of the machine's. */
  readonly program: Programs['write'];
  /** Runs commands as a shell does that ends at the first failure. @returns what they print. */
  run(commands: string): Promise<{ code: number | null; output: string }>;
  /** Runs a command that does not end by itself, until `use` has ended. It gets the first line that is printed. */
  runWhile(command: string, use: (line: string) => Promise<void>): Promise<void>;
}

/** The cluster that the pages recommend, as `make cluster` starts it, and its reader. */
export interface ReaderCluster {
  readonly controlPlane: ControlPlane;
  readonly reader: Reader;
}

export async function startReaderCluster(): Promise<ReaderCluster> {
  const controlPlane = await startControlPlane({ complete: true });
  try {
    const node = await startNode(controlPlane);
    await node.importImage(join(checkout, 'dist/kubespiffe-image.tar'));
    return { controlPlane, reader: await openReader(controlPlane) };
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

export async function openReader(controlPlane: ControlPlane): Promise<Reader> {
  const folder = join(controlPlane.dir, 'checkout');
  await cp(join(checkout, 'manifests'), join(folder, 'manifests'), { recursive: true });
  await mkdir(join(folder, 'bin'));
  await symlink(join(checkout, 'bin/kubespiffe'), join(folder, 'bin/kubespiffe'));
  const { PATH, write: program } = await openPrograms(controlPlane, join(folder, 'path'));
  await program('helm', `exec ${await helmBinary()} "$@"`);
  // What a person does in the editor: no registry, so the image keeps its name.
  await program('editor', `exec sed -i '/^images:/,$d' "$1"`);

  const env = {
    ...process.env,
    PATH,
    KUBECONFIG: controlPlane.kubeconfig,
    EDITOR: 'editor',
    ...Object.fromEntries(['CACHE', 'CONFIG', 'DATA'].map((name) => [`HELM_${name}_HOME`, folder])),
  };
  const start = (commands: string) =>
    spawn('sh', ['-ec', `exec 2>&1\n${commands}`], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: blockEndsWithinMs,
    });
  return {
    folder,
    program,
    async run(commands) {
      const child = start(commands);
      const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
      return { code, output };
    },
    async runWhile(command, use) {
      const child = start(`exec ${command.trim()}`);
      const closed = once(child, 'close');
      const [line] = await Promise.race([
        once(createInterface(child.stdout), 'line'),
        closed.then(([code]) => Promise.reject(new Error(`${command.trim()} ended with ${code}`))),
      ]);
      try {
        await use(line);
      } finally {
        child.kill('SIGTERM');
        await closed;
      }
    },
  };
}

/** Runs a block, and requires that it ends well, or that it fails if the page says `sh fails`. @returns what it prints. */
export async function follow(
  reader: Reader,
  controlPlane: ControlPlane,
  { code: commands, info }: Pick<Block, 'code' | 'info'>,
): Promise<string> {
  const { code, output } = await reader.run(commands);
  if ((code === 0) === (info === 'fails')) {
    throw new Error(`ended with ${code}:\n${commands}\n${output}\n${await stateOf(controlPlane)}`);
  }
  return output;
}

/** Runs the first block of commands below a heading of a page. @returns what it prints. */
export async function followBelow(
  reader: Reader,
  controlPlane: ControlPlane,
  page: string,
  heading: string,
): Promise<string> {
  const block = blocksBelow(await readPage(page), heading).find(({ language }) => language === 'sh');
  assert.ok(block, `${page}, ${heading}: no commands`);
  return follow(reader, controlPlane, block);
}

/** What the cluster says of its pods, for the message of a failure. */
async function stateOf({ kubectl }: ControlPlane): Promise<string> {
  const pods = await kubectl(['get', 'pods', '--all-namespaces', '--no-headers']).catch(String);
  const seen = await Promise.all(
    pods
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/))
      .map(([namespace = '', name = '']) => {
        const where = ['--namespace', namespace, name];
        return kubectl(['logs', '--all-containers', '--tail', '8', ...where]).catch(String);
      }),
  );
  const events = await kubectl(['get', 'events', '--all-namespaces']).catch(String);
  return [pods, ...seen, events.split('\n').slice(-30).join('\n')].join('\n');
}

export interface Walk {
  readonly page: Page;
  /** Which sections; all if absent. */
  readonly has?: (heading: string) => boolean;
  /** What the reader does while a command runs that does not end (`sh stays`), by its heading. */
  readonly meanwhile?: Readonly<Record<string, (line: string) => Promise<void>>>;
}

/**
 * Defines a test for each section of a page that has commands. Every `sh` block runs as it stands, in the order of the page. A
 * `text` block is what the commands before it print, see `missingLine`.
 */
export function itFollows({ page, has = () => true, meanwhile = {} }: Walk, at: () => ReaderCluster): void {
  const step = inOrder();
  for (const [heading, blocks] of Map.groupBy(blocksOf(page), (block) => block.heading)) {
    if (!has(heading) || !blocks.some(({ language }) => language === 'sh')) continue;
    step(`${page.path}: ${heading}`, async () => {
      const { reader, controlPlane } = at();
      let output = '';
      for (const block of blocks) {
        const { language, info, code } = block;
        if (language === 'text') {
          const missing = missingLine(code, output);
          assert.equal(missing, undefined, `${heading} does not print "${missing}", but:\n${output}`);
        } else if (language === 'sh' && info === 'stays') {
          const use = meanwhile[heading];
          assert.ok(use, `${heading}: nothing is done while this runs: ${code}`);
          await reader.runWhile(code, use);
        } else if (language === 'sh') {
          output = await follow(reader, controlPlane, block);
        }
      }
    });
  }
}

/** Defines tests of which each needs those before it: when one fails, the others fail at once. */
export function inOrder(): (title: string, run: () => Promise<void>) => void {
  let hasFailed = false;
  return (title, run) =>
    it(title, async () => {
      assert.ok(!hasFailed, 'an earlier step failed');
      hasFailed = true;
      await run();
      hasFailed = false;
    });
}
