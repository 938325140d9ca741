import { constants } from 'node:os';
import { resolve } from 'node:path';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import {
  type Content,
  type FileConfig,
  type HelperConfig,
  type PemPart,
  pemParts,
  type ReloadConfig,
  type SignalTarget,
  type SourceConfig,
} from './config.ts';
import { type Fields, fieldsOf, type Mistake, type Tree } from './fields.ts';

/** What a configuration file begins with. */
export const header = { apiVersion: 'kubespiffe.io/v1alpha1', kind: 'HelperConfiguration' } as const;

/** Reads what a configuration file with our header says. Every mistake is listed. Never throws. */
export function readConfig(tree: Tree): { config: HelperConfig | undefined; mistakes: readonly Mistake[] } {
  const mistakes: Mistake[] = [];
  const fields = fieldsOf(tree, '', mistakes);
  for (const [name, wanted] of Object.entries(header)) {
    if (fields.text(name) !== wanted) fields.mistake(name, `must be ${wanted}`);
  }
  const source = readSource(fields.object('source'));
  const folder = fields.text('folder');
  if (folder === undefined && !fields.has('folder'))
    fields.mistake('folder', 'is required: where the files go');
  const [first, ...files] = fields.objects('files').map(readFileConfig);
  if (!first) fields.mistake('files', 'is required: at least one file with name and content');
  const reload = readReload(fields.object('reload'));
  const once = fields.flag('once') ?? false;
  fields.end();
  if (!first || folder === undefined) return { config: undefined, mistakes };
  const config = { source, folder, files: [first, ...files] as const, reload, once };
  mistakes.push(...checkTogether(config));
  return { config, mistakes };
}

/** What only several keys together show. */
export function checkTogether({ source, folder, files }: HelperConfig): Mistake[] {
  const mistakes: Mistake[] = [];
  const names = files.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) mistakes.push({ place: 'files', message: `two files have the name ${twice}` });
  if (resolve(source.credentials) === resolve(folder)) {
    mistakes.push({ place: 'folder', message: `is the folder of the source, ${folder}; choose another one` });
  }
  return mistakes;
}

function readSource(fields: Fields | undefined): SourceConfig {
  const credentials = fields?.text('credentials') ?? '/run/spiffe';
  const named = fields?.object('bundles');
  const bundles: Record<string, readonly string[]> = {};
  for (const name of named?.names() ?? []) {
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) named?.mistake(name, trustDomain.reason);
    bundles[name] = named?.texts(name) ?? [];
  }
  fields?.end();
  return { kind: 'folder', credentials, bundles };
}

function readFileConfig(fields: Fields): FileConfig {
  const name = fields.text('name') ?? '';
  const reason = nameReason(name);
  if (reason !== undefined) fields.mistake('name', reason);
  const content = readContent(fields);
  const mode = readMode(fields, isSecret(content) ? 0o600 : 0o644);
  fields.end();
  return { name, mode, content };
}

function nameReason(name: string): string | undefined {
  if (name === '') return 'is required';
  if (name.includes('/')) return `${JSON.stringify(name)} has a "/"; the files are in the folder itself`;
  if (name === '.' || name.startsWith('..')) return `${JSON.stringify(name)} is used by the helper itself`;
  return Buffer.byteLength(name) > 255 ? 'is longer than 255 bytes' : undefined;
}

function readContent(fields: Fields): Content {
  const parts = fields.texts('content') ?? [];
  const unknown = parts.find((part) => !(pemParts as readonly string[]).includes(part));
  if (parts.length === 0 || unknown !== undefined) {
    const found = unknown === undefined ? 'is required' : `${JSON.stringify(unknown)} is not known`;
    fields.mistake('content', `${found}; write one or several of ${pemParts.join(', ')}`);
  }
  return { kind: 'pem', parts: parts as readonly PemPart[] };
}

/** Whether a file holds a private key or a token. */
export const isSecret = ({ parts }: Content): boolean => parts.includes('key');

/** Permission bits in octal digits with a leading zero, as chmod and spiffe-helper have them. */
export function readMode(fields: Fields, otherwise: number, name = 'mode'): number {
  const text = fields.text(name);
  if (text === undefined) return otherwise;
  if (/^0[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  fields.mistake(name, `${JSON.stringify(text)} is not a mode; write four octal digits such as 0640`);
  return otherwise;
}

function readReload(fields: Fields | undefined): ReloadConfig {
  const signal = fields?.text('signal');
  const pidFile = fields?.text('pidFile');
  const process = fields?.text('process');
  const [program, ...args] = fields?.texts('command') ?? [];
  const target = pidFile === undefined ? process && { process } : { pidFile };
  if (fields && !signal && !program) fields.mistake('signal', 'is missing; give a signal or a command');
  if (signal && !isSignal(signal))
    fields?.mistake('signal', `${JSON.stringify(signal)} is not a signal such as SIGHUP`);
  if ((signal && !target) || (pidFile && process)) {
    fields?.mistake('signal', 'goes to one of pidFile and process');
  }
  if (!signal && target)
    fields?.mistake('signal', 'is missing; write the signal of pidFile or process, such as SIGHUP');
  if (process && Buffer.byteLength(process) > maxProcessNameBytes) {
    fields?.mistake(
      'process',
      `is longer than ${maxProcessNameBytes} bytes, the longest name that Linux keeps`,
    );
  }
  fields?.end();
  return {
    signal: signal && target ? { name: signal as NodeJS.Signals, target: target as SignalTarget } : undefined,
    command: program === undefined ? undefined : [program, ...args],
  };
}

/** TASK_COMM_LEN without the final zero (proc(5)). */
const maxProcessNameBytes = 15;

/** Signals that a program can react to. */
export const isSignal = (name: string): name is NodeJS.Signals =>
  Object.hasOwn(constants.signals, name) && name !== 'SIGKILL' && name !== 'SIGSTOP';
