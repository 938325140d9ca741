import { basename } from 'node:path';
import { parseEndpointAddress } from '../../client/endpoint-address.ts';
import type { FileConfig, ParseOptions, PemPart, ReloadConfig, SourceConfig } from './config.ts';
import { type Fields, fieldsOf, type Problem, type Tree } from './fields.ts';
import { type ConfigReading, complete, readHealth } from './read-config.ts';
import { readAudience, readMode, readName } from './read-file-config.ts';
import { isSignal } from './read-reload.ts';

/** A configuration of spiffe-helper, and what does not mean the same here. */
export interface SpiffeHelperReading extends ConfigReading {
  readonly differences: readonly string[];
}

/** Reads what a configuration of spiffe-helper says. As there, an empty value is one that is missing. */
export function readSpiffeHelper(tree: Tree, options: ParseOptions): SpiffeHelperReading {
  const problems: Problem[] = [];
  const differences: string[] = [];
  const fields = fieldsOf(withoutEmpty(tree), '', problems);
  const source = options.source ?? readSource(fields, options.defaultSocket);
  if (options.source) fields.skip('agent_address', 'hint');
  const folder = fields.text('cert_dir');
  if (folder === undefined) fields.problem('cert_dir', 'is required: where the files go');
  const files = [...readX509Files(fields), ...readJwtFiles(fields)];
  if (fields.flag('omit_expired') !== undefined) {
    differences.push(
      'omit_expired: all roots are written that the source gives. kubespiffe takes roots out of its bundles itself',
    );
  }
  const once = fields.flag('daemon_mode') === false;
  const reload = readReload(fields, once, differences);
  const checks = fields.object('health_checks');
  const isChecked = checks?.flag('listener_enabled') ?? false;
  const paths = readHealth(checks, ['bind_port', 'liveness_path', 'readiness_path']);
  const health = isChecked ? paths : undefined;
  if (health)
    differences.push('liveness_path: 200 as long as the helper runs, also when files cannot be written');
  fields.end();
  return { ...complete({ source, folder, files, reload, health, once }, problems), differences };
}

/** Keys with empty values, such as `cmd = ""`, are left out. */
function withoutEmpty(tree: Tree): Tree {
  if (typeof tree === 'string' || Array.isArray(tree)) return tree;
  return Object.fromEntries(Object.entries(tree).filter(([, value]) => value !== ''));
}

function readSource(fields: Fields, defaultSocket: string | undefined): SourceConfig {
  const path = fields.text('agent_address');
  const hint = fields.text('hint');
  // A path without scheme. A value of the variable has one.
  const socket =
    path === undefined ? (defaultSocket ?? 'unix:///tmp/spire-agent/public/api.sock') : `unix://${path}`;
  const address = parseEndpointAddress(socket);
  if (!address.ok) fields.problem('agent_address', `${JSON.stringify(path ?? socket)}: ${address.reason}`);
  return { kind: 'socket', socket, hint };
}

function readX509Files(fields: Fields): FileConfig[] {
  const certMode = readMode(fields, 'cert_file_mode', 0o644);
  const keyMode = readMode(fields, 'key_file_mode', 0o600);
  const isSplit = fields.flag('add_intermediates_to_bundle') ?? false;
  const isFederated = fields.flag('include_federated_domains') ?? false;
  const pem = (key: string, mode: number, ...parts: readonly PemPart[]): FileConfig[] => {
    const name = readName(fields, key);
    return name === undefined ? [] : [{ name, mode, content: { kind: 'pem', parts } }];
  };
  const bundle: PemPart[] = ['roots'];
  if (isSplit) bundle.push('intermediates');
  if (isFederated) bundle.push('federatedRoots');
  return [
    ...pem('svid_file_name', certMode, isSplit ? 'leaf' : 'chain'),
    ...pem('svid_key_file_name', keyMode, 'key'),
    ...pem('svid_bundle_file_name', certMode, ...bundle),
  ];
}

function readJwtFiles(fields: Fields): FileConfig[] {
  const bundleMode = readMode(fields, 'jwt_bundle_file_mode', 0o600);
  const tokenMode = readMode(fields, 'jwt_svid_file_mode', 0o600);
  const bundle = readName(fields, 'jwt_bundle_file_name');
  const tokens = fields.objects('jwt_svids').map((one): FileConfig => {
    const name = readName(one, 'jwt_svid_file_name') ?? '';
    if (name === '') one.problem('jwt_svid_file_name', 'is required');
    const audience = [...readAudience(one, 'jwt_audience'), ...(one.texts('jwt_extra_audiences') ?? [])];
    one.end();
    return { name, mode: tokenMode, content: { kind: 'jwtSvid', audience } };
  });
  if (bundle === undefined) return tokens;
  return [{ name: bundle, mode: bundleMode, content: { kind: 'jwtBundles' } }, ...tokens];
}

/**
 * spiffe-helper starts `cmd`, and sends the signal to it where it still runs at the next renewal. Without a signal it is a command
 * that reloads something, which is the same here. With one, it is a server, which this helper does not start.
 */
function readReload(fields: Fields, once: boolean, differences: string[]): ReloadConfig {
  const name = fields.text('renew_signal');
  const pidFile = fields.text('pid_file_name');
  const program = fields.text('cmd');
  const args = splitArguments(fields.text('cmd_args') ?? '');
  if (!args) fields.problem('cmd_args', 'has a quotation mark that is not closed');
  if (name !== undefined && !isSignal(name)) {
    fields.problem('renew_signal', `${JSON.stringify(name)} is not a signal such as SIGHUP`);
  }
  if (pidFile !== undefined && name === undefined)
    fields.problem('renew_signal', 'is required for pid_file_name');
  const signal = name !== undefined && isSignal(name) ? name : undefined;
  const ofPidFile = signal && pidFile ? { name: signal, target: { pidFile } } : undefined;
  if (program === undefined || signal === undefined) {
    const command = program === undefined || once ? undefined : ([program, ...(args ?? [])] as const);
    return { signal: ofPidFile, command };
  }
  const process = basename(program);
  differences.push(
    `cmd and cmd_args: ${program} is not started. Run it in a container of its own, in a pod with shareProcessNamespace: true`,
    `renew_signal: ${pidFile === undefined ? `the process named ${process}` : `the process of ${pidFile}`} gets ${signal}`,
  );
  return { signal: ofPidFile ?? { name: signal, target: { process } }, command: undefined };
}

/** By spaces, except in double quotes; two of these within stand for one. Undefined where a quote stands elsewhere. */
function splitArguments(text: string): string[] | undefined {
  const word = /(?<=^|\s)(?:"((?:[^"]|"")*)"(?=\s|$)|([^\s"]+)(?=\s|$))/g;
  if (text.replaceAll(word, '').trim() !== '') return undefined;
  return [...text.matchAll(word)].map(([, quoted, plain]) => plain ?? quoted?.replaceAll('""', '"') ?? '');
}
