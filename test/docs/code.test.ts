import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { access, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { table } from '../../signer/config/table.ts';
import { paths } from '../../signer/token/http/paths.ts';
import { buildProgram } from '../../tools/cli.ts';
import { everyCommand } from '../../tools/run.ts';
import type { Terminal } from '../../tools/terminal.ts';
import { type Block, blocksOf, checkout, readPages } from './markdown.ts';

const pages = await readPages();
const blocks = pages.flatMap((page) => blocksOf(page).map((block) => ({ ...block, path: page.path })));

/** Gives the code to a program that only parses it, and rejects with what the program says. */
async function parsedBy(program: string, args: readonly string[], code: string): Promise<void> {
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.on('error', () => undefined);
  child.stdin.end(code);
  const exit = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const [code_, said] = await Promise.all([exit, text(child.stderr)]);
  assert.equal(code_, 0, said);
}

const pythonParser = 'import ast, sys; ast.parse(sys.stdin.read())';

/** How code of a language is parsed; undefined for what is no program and no data, or has no parser on every machine. */
const parsers: Readonly<Record<string, ((code: string) => Promise<void> | void) | undefined>> = {
  sh: (code) => parsedBy('sh', ['-n'], code),
  bash: (code) => parsedBy('bash', ['-n'], code),
  js: (code) => parsedBy(process.execPath, ['--input-type=module', '--check', '-'], code),
  go: (code) => parsedBy('gofmt', ['-e'], code),
  python: (code) => parsedBy('python3', ['-c', pythonParser], code),
  json: (code) => {
    JSON.parse(code);
  },
  yaml: (code) => {
    for (const document of parseAllDocuments(code)) assert.deepEqual(document.errors, []);
  },
  dockerfile: undefined,
  hcl: undefined,
  ini: undefined,
  java: undefined,
  mermaid: undefined,
  rust: undefined,
  toml: undefined,
  xml: undefined,
  text: undefined,
  '': undefined,
};

/** The arguments of each call of our command in a script, as far as quotes and `;`, `|`, `&`, `>` show them. */
function callsIn(script: string): string[][] {
  const lines = script.replaceAll('\\\n', ' ').replaceAll(/(^|\s)#.*$/gm, '$1');
  const calls = lines.matchAll(
    /(?:^|[;|&(]|--)[ \t]*(?:\w+=\S*[ \t]+)*(?:bin\/)?kubespiffe[ \t]+((?:'[^']*'|"[^"]*"|[^;|&)>\n])*)/gm,
  );
  return [...calls].map(([, text = '']) =>
    [...text.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) => word.replaceAll(/['"]/g, '')),
  );
}

/** Parses a call as the command does, and runs nothing. */
async function parsedByCommand(words: readonly string[]): Promise<void> {
  const program = buildProgram(terminal, () => undefined);
  const parsed = new Error('parsed');
  program.hook('preAction', () => {
    throw parsed;
  });
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
  }
  const outcome = await program.parseAsync(words, { from: 'user' }).catch((error) => error);
  if (outcome !== parsed) throw outcome;
}

const terminal: Terminal = {
  ...{ out: () => undefined, err: () => undefined, hasColor: false },
  ...{ read: async () => Buffer.alloc(0), env: {}, now: Date.now },
};

const title = ({ path, heading, language }: Block & { path: string }) => `${path}, ${heading}: ${language}`;

describe('code in the documentation', () => {
  for (const block of blocks) {
    assert.ok(block.language in parsers, `${title(block)} has no parser`);
    const parse = parsers[block.language];
    if (parse) it(`the code of a page can be parsed: ${title(block)}`, async () => parse(block.code));
  }

  it('invalid code of a page is refused, in every language', async () => {
    for (const [language, parse] of Object.entries(parsers)) {
      if (parse) await assert.rejects(async () => parse('{ "a": ('), `${language} is not parsed`);
    }
  });

  it('code in the documentation names settings that exist', () => {
    const named = blocks.flatMap(({ code }) =>
      [...code.matchAll(/\bKUBESPIFFE_[A-Z0-9_]+/g)].map(([name]) => name),
    );
    assert.ok(named.length > 3);
    // Beside the settings there is where they are, and where Node.js is.
    assert.deepEqual(
      named.filter(
        (name) => !table.byVariable.has(name) && !['KUBESPIFFE_NODE', 'KUBESPIFFE_CONFIG'].includes(name),
      ),
      [],
    );
  });

  it('code in the documentation calls commands that kubespiffe has, with their arguments and flags', async () => {
    const called = blocks
      .filter(({ language }) => language === 'sh' || language === 'bash')
      .flatMap((block) => callsIn(block.code).map((words) => ({ words, at: title(block) })));
    assert.ok(called.length > 80);
    const wrong: string[] = [];
    for (const { words, at } of called) {
      await parsedByCommand(words).catch((error) => wrong.push(`${at}: ${words.join(' ')}: ${error}`));
    }
    assert.deepEqual(wrong, []);
    await assert.rejects(parsedByCommand(['ca', 'show', '--no-such-flag']), /no-such-flag/);
    await assert.rejects(parsedByCommand(['bundle', 'fetch']), /missing required argument/);
  });

  it('code in the documentation calls paths that the endpoint has', () => {
    const called = blocks.flatMap(({ code }) =>
      [...code.matchAll(/https:\/\/kubespiffe-tokens\.kubespiffe\.svc(\/[\w./-]*)/g)].map(([, path]) => path),
    );
    assert.ok(called.length > 8);
    assert.deepEqual(
      called.filter((path) => !Object.values<string>(paths).includes(path ?? '')),
      [],
    );
  });

  it('code in the documentation copies an overlay beside what it refers to', async () => {
    const copies = blocks.flatMap(({ code, path }) =>
      [...code.matchAll(/^cp -r (\S+) (\S+)/gm)].map(([, from = '', to = '']) => ({ path, from, to })),
    );
    assert.ok(copies.length >= 2);
    for (const { path, from, to } of copies) {
      const overlay = parse(await readFile(join(checkout, from, 'kustomization.yaml'), 'utf8'));
      for (const reference of [...overlay.resources, ...(overlay.components ?? [])]) {
        await assert.doesNotReject(access(join(checkout, to, reference)), `${path}: ${to}/${reference}`);
      }
    }
  });

  it('code in the documentation and the manifests never skip the verification of a certificate', async () => {
    const manifests = await readdir(join(checkout, 'manifests'), { recursive: true, withFileTypes: true });
    const files = manifests.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
    const all = [
      ...blocks.map((block) => ({ name: title(block), code: block.code })),
      ...(await Promise.all(files.map(async (name) => ({ name, code: await readFile(name, 'utf8') })))),
    ];
    const skips =
      /--insecure|\bcurl\b[^|\n]* -[a-zA-Z]*k|InsecureSkipVerify|rejectUnauthorized|CERT_NONE|verify=False|NODE_TLS_REJECT|tls_skip_verify/i;
    assert.deepEqual(
      all.filter(({ code }) => skips.test(code)).map(({ name }) => name),
      [],
    );
    assert.match('curl -sk https://x', skips);
  });

  it('code in the documentation and the notes of the chart save the keys of the pool outside of the checkout', async () => {
    const notes = await readFile(join(checkout, 'manifests/chart/templates/NOTES.txt'), 'utf8');
    const lines = [...blocks.map(({ code }) => code), notes].flatMap((code) => code.split('\n'));
    const saved = lines.filter((line) => /\bget secret\b.*-o yaml > /.test(line));
    assert.ok(saved.length > 3);
    assert.deepEqual(
      saved.filter((line) => !line.includes('-o yaml > ~/')),
      [],
    );
  });
});
