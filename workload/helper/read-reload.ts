import { constants } from 'node:os';
import type { ReloadConfig, SignalTarget } from './config.ts';
import type { Fields } from './fields.ts';

/** Signals that a program can react to. */
export const isSignal = (name: string): name is NodeJS.Signals =>
  Object.hasOwn(constants.signals, name) && name !== 'SIGKILL' && name !== 'SIGSTOP';

export function readReload(fields: Fields | undefined): ReloadConfig {
  if (!fields) return { signal: undefined, command: undefined };
  const name = fields.text('signal');
  const pidFile = fields.text('pidFile');
  const process = fields.text('process');
  const [program, ...args] = fields.texts('command') ?? [];
  fields.end();
  if (name !== undefined && !isSignal(name)) {
    fields.problem('signal', `${JSON.stringify(name)} is not a signal such as SIGHUP`);
  }
  if (name === undefined && program === undefined)
    fields.problem('signal', 'is missing; give a signal or a command');
  const targets: SignalTarget[] = [
    ...(pidFile === undefined ? [] : [{ pidFile }]),
    ...(process === undefined ? [] : [{ process }]),
  ];
  const [target] = targets;
  if (targets.length > 1 || (name === undefined) !== (target === undefined)) {
    fields.problem('signal', 'goes together with one of pidFile and process');
  }
  return {
    signal: name !== undefined && isSignal(name) && target ? { name, target } : undefined,
    command: program === undefined ? undefined : [program, ...args],
  };
}
