import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePorts } from '../cluster/ports.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { webCredentials } from '../contract/bundle-endpoint.ts';
import { run } from '../tools/run.ts';

/** A registry of container images and charts: Debian's docker-registry, with TLS. */
export interface Registry {
  /** Host and port, in the place of `registry.example.com`. */
  readonly host: string;
  /** PEM file with the root of its certificate. */
  readonly roots: string;
  stop(): Promise<void>;
}

export async function startRegistry(folder: string): Promise<Registry> {
  await mkdir(folder);
  const [port] = await freePorts(1);
  const { key, cert } = await webCredentials({ address: 'localhost' });
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  const roots = await file('tls.crt', cert);
  const configuration = await file(
    'config.yml',
    JSON.stringify({
      version: 0.1,
      log: { level: 'warn' },
      storage: { filesystem: { rootdirectory: join(folder, 'storage') } },
      http: { addr: `127.0.0.1:${port}`, tls: { certificate: roots, key: await file('tls.key', key) } },
    }),
  );
  const logFile = join(folder, 'log');
  const child = startChild('registry', ['docker-registry', 'serve', configuration], { logFile });
  const host = `localhost:${port}`;
  const ask = ['--silent', '--fail', '--cacert', roots, `https://${host}/v2/`];
  await waitFor('the registry', async () => (await run(ask, { file: 'curl' })).code === 0, {
    needs: [child],
  });
  return { host, roots, stop: () => child.stop() };
}
