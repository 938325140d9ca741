import type { Command } from 'commander';
import type { Config } from '../../signer/config/config.ts';
import { formatProblems, loadConfig } from '../../signer/config/load.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import type { ConfigMap } from '../../signer/kube/types.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import type { Terminal } from '../terminal.ts';
import { get } from './get.ts';

export interface SettingsOptions {
  signerDeployment: string;
  config?: string;
}

/** The settings that the signers of the cluster have. */
export interface SignerSettings {
  readonly config: Config;
  /** Where they were read, for people. */
  readonly from: string;
}

/** The one of manifests/base, as NAMESPACE/NAME. */
export const usualDeployment = 'kubespiffe/kubespiffe-signer';

/** The options of every command that decides as the signers of the cluster do. */
export function withSignerSettings(command: Command): Command {
  return command
    .option(
      '--signer-deployment <namespace/name>',
      'Deployment of the signer, whose settings are read.',
      usualDeployment,
    )
    .option('--config <file>', 'Configuration file of the signer to use instead of its Deployment.');
}

/** What is read of a Deployment: how it starts the signer. */
export interface Deployment {
  spec: { template: { spec: { containers: Container[]; volumes?: Volume[]; serviceAccountName?: string } } };
}
interface Container {
  name: string;
  image: string;
  imagePullPolicy?: string;
  command?: string[];
  args?: string[];
  envFrom?: { prefix?: string; configMapRef?: { name: string } }[];
  env?: EnvVariable[];
  volumeMounts?: { name: string; mountPath: string }[];
}
interface EnvVariable {
  name: string;
  value?: string;
  valueFrom?: {
    configMapKeyRef?: { name: string; key: string };
    fieldRef?: { fieldPath: string };
  };
}
interface Volume {
  name: string;
  configMap?: { name: string; items?: { key: string; path: string }[] };
}

/**
 * Reads the settings of the signer as the signer itself does: from the flags, the environment and the file that its
 * Deployment gives to it.
 *
 * @throws CliError if there is no such Deployment, or if its configuration is not valid.
 */
export async function readSignerSettings(
  api: Transport,
  terminal: Terminal,
  { signerDeployment, config: file }: SettingsOptions,
): Promise<SignerSettings> {
  if (file !== undefined) return readSettingsFile(terminal, file);
  const instead = 'give its configuration with --config';
  const { namespace, name, container, volumes } = await readSignerContainer(api, signerDeployment, instead);
  const configMaps = configMapReader(api, namespace);
  const loaded = await loadConfig({
    argv: signerFlags(container) ?? [],
    env: await environmentOf(container, { namespace, name }, configMaps),
    readFile: (path) => readMounted(path, container, volumes, configMaps),
  });
  return settingsFrom(loaded, `Deployment ${signerDeployment}`);
}

/**
 * The container of a Deployment that runs the signer. There may be others before it, such as a proxy.
 *
 * @param instead what else can be done where there is none, for the hint.
 * @throws CliError
 */
export async function readSignerContainer(
  api: Transport,
  signerDeployment: string,
  instead: string,
): Promise<{ namespace: string; name: string; container: Container; volumes: readonly Volume[] }> {
  const [namespace = '', name = '', ...rest] = signerDeployment.split('/');
  if (name === '' || rest.length > 0) {
    const what = `--signer-deployment ${signerDeployment} does not name a Deployment`;
    throw new CliError('USAGE', what, 'write NAMESPACE/NAME');
  }
  const place = { group: 'apps', version: 'v1', resource: 'deployments' };
  const deployment = await get<Deployment>(api, { ...place, namespace, name });
  const container = deployment?.spec.template.spec.containers.find((each) => signerFlags(each));
  if (!deployment || !container) {
    const what = deployment
      ? `no container of the Deployment ${signerDeployment} runs \`kubespiffe signer\``
      : `there is no Deployment ${signerDeployment}`;
    const hint = `name the one of the signer with --signer-deployment, or ${instead}`;
    throw new CliError('CONFIG_INVALID', what, hint);
  }
  return { namespace, name, container, volumes: deployment.spec.template.spec.volumes ?? [] };
}

/** The settings in a configuration file. @throws CliError where they are not valid. */
export async function readSettingsFile(terminal: Terminal, file: string): Promise<SignerSettings> {
  const loaded = await loadConfig({
    argv: ['--config', file],
    env: {},
    readFile: async (path) => textOf(await terminal.read(path)),
  });
  return settingsFrom(loaded, file);
}

function settingsFrom(loaded: Awaited<ReturnType<typeof loadConfig>>, from: string): SignerSettings {
  if (loaded.kind === 'config') return { config: loaded.config, from };
  const what = loaded.kind === 'problems' ? formatProblems(loaded.problems) : 'it only asks for help';
  const hint =
    'a signer of this version would not start with these settings; is this command of the same version?';
  throw new CliError('CONFIG_INVALID', `the settings of ${from} cannot be used: ${what}`, hint);
}

/** The arguments after `signer`; undefined for a container that does not run one. */
function signerFlags({ command = [], args = [] }: Container): string[] | undefined {
  const words = [...command, ...args];
  const at = words.indexOf('signer');
  return at < 0 ? undefined : words.slice(at + 1);
}

type ReadConfigMap = (name: string) => Promise<Readonly<Record<string, string>>>;

function configMapReader(api: Transport, namespace: string): ReadConfigMap {
  const place = { group: '', version: 'v1', resource: 'configmaps', namespace };
  return async (name) => (await get<ConfigMap>(api, { ...place, name }))?.data ?? {};
}

async function environmentOf(
  { envFrom = [], env = [] }: Container,
  { namespace, name }: { namespace: string; name: string },
  read: ReadConfigMap,
): Promise<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const { prefix = '', configMapRef } of envFrom) {
    const data = configMapRef ? await read(configMapRef.name) : {};
    for (const [key, value] of Object.entries(data)) variables[prefix + key] = value;
  }
  const fields: Readonly<Record<string, string>> = {
    'metadata.namespace': namespace,
    'metadata.name': name,
  };
  for (const each of env) {
    const { configMapKeyRef, fieldRef } = each.valueFrom ?? {};
    const value = configMapKeyRef
      ? (await read(configMapKeyRef.name))[configMapKeyRef.key]
      : (fields[fieldRef?.fieldPath ?? ''] ?? each.value);
    if (value !== undefined) variables[each.name] = value;
  }
  return variables;
}

/** A file of the container that comes from a ConfigMap. */
async function readMounted(
  path: string,
  { volumeMounts = [] }: Container,
  volumes: readonly Volume[],
  read: ReadConfigMap,
): Promise<string> {
  for (const { name, mountPath } of volumeMounts) {
    const folder = `${mountPath.replace(/\/+$/, '')}/`;
    const configMap = volumes.find((volume) => volume.name === name)?.configMap;
    if (!configMap || !path.startsWith(folder)) continue;
    const file = path.slice(folder.length);
    const key = configMap.items?.find((item) => item.path === file)?.key ?? file;
    const content = (await read(configMap.name))[key];
    if (content !== undefined) return content;
  }
  throw new Error('it is in no ConfigMap that the container mounts');
}
