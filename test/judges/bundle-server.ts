import { rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePorts } from '../cluster/ports.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { makeStateFolder } from '../cluster/state-folder.ts';
import { judgesBinary } from './build.ts';

/** The bundle endpoint of another trust domain, served by go-spiffe. */
export interface BundleServer {
  readonly url: string;
  /** What it serves from now on: a SPIFFE bundle (JSON). */
  setBundle(text: string): Promise<void>;
  /** Private key and chain, PEM, that it shows from the next connection on. */
  setCredentials(pem: string): Promise<void>;
  stop(): Promise<void>;
}

/** @param hasSvid whether the credentials are an X509-SVID (https_spiffe) or a certificate for 127.0.0.1 (https_web). */
export async function startBundleServer(options: {
  readonly trustDomain: string;
  readonly bundle: string;
  readonly credentials: string;
  readonly hasSvid: boolean;
}): Promise<BundleServer> {
  const [binary, folder, [port = 0]] = await Promise.all([judgesBinary(), makeStateFolder(), freePorts(1)]);
  const files = { bundle: join(folder, 'bundle.json'), credentials: join(folder, 'credentials.pem') };
  const set = async (file: string, text: string) => {
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
  };
  await Promise.all([set(files.bundle, options.bundle), set(files.credentials, options.credentials)]);
  const child = startChild(
    'bundle-server',
    [
      ...[binary, 'serve-bundle', ...(options.hasSvid ? ['--spiffe'] : [])],
      ...['--trust-domain', options.trustDomain, '--address', `127.0.0.1:${port}`],
      ...['--file', files.bundle, '--credentials', files.credentials],
    ],
    { logFile: join(folder, 'log') },
  );
  await waitFor('the bundle server to listen', () => canConnect(port), { needs: [child] });
  return {
    url: `https://127.0.0.1:${port}/`,
    setBundle: (text) => set(files.bundle, text),
    setCredentials: (pem) => set(files.credentials, pem),
    stop: () => child.stop(),
  };
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
