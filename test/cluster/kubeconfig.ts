import { rename, writeFile } from 'node:fs/promises';

/** How a kubeconfig says who its user is. */
export type KubeconfigUser =
  | { certificate: string; key: string }
  | { /** File that is read again when its content changes. */ tokenFile: string };

/** Writes a kubeconfig of one context. JSON is YAML, so nothing needs quoting. Certificates are PEM. */
export async function writeKubeconfig(
  file: string,
  cluster: { server: string; authority: string; namespace?: string },
  user: KubeconfigUser,
): Promise<string> {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const identity =
    'tokenFile' in user
      ? { tokenFile: user.tokenFile }
      : { 'client-certificate-data': base64(user.certificate), 'client-key-data': base64(user.key) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'test',
        cluster: { server: cluster.server, 'certificate-authority-data': base64(cluster.authority) },
      },
    ],
    users: [{ name: 'test', user: identity }],
    contexts: [
      {
        name: 'test',
        context: {
          cluster: 'test',
          user: 'test',
          ...(cluster.namespace && { namespace: cluster.namespace }),
        },
      },
    ],
    'current-context': 'test',
  };
  await replaceFile(file, JSON.stringify(config, null, 2));
  return file;
}

/** Writes a file by rename, so that a reader sees the old content or the new, never a part. Mode 0600. */
export async function replaceFile(file: string, content: string): Promise<void> {
  await writeFile(`${file}.new`, content, { mode: 0o600 });
  await rename(`${file}.new`, file);
}
