import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { checkout } from '../docs/markdown.ts';

/** A registry of npm on this machine, which serves the packages that are installed in this checkout, and no others. */
export async function startNpmRegistry(): Promise<{ readonly url: string; close(): void }> {
  const manifestOf = (name: string) =>
    JSON.parse(readFileSync(join(checkout, 'node_modules', name, 'package.json'), 'utf8'));
  const server = createServer((request, response) => {
    const name = decodeURIComponent(request.url?.slice(1) ?? '');
    try {
      if (name.endsWith('.tgz')) {
        const folder = join(checkout, 'node_modules', name.slice(0, -'.tgz'.length));
        const tar = ['-czf-', '--exclude=./node_modules', '--transform=s,^\\.,package,', '-C', folder, '.'];
        response.end(execFileSync('tar', tar, { maxBuffer: 64 * 1024 * 1024 }));
        return;
      }
      const manifest = manifestOf(name);
      const dist = { tarball: `http://${request.headers.host}/${encodeURIComponent(name)}.tgz` };
      const versions = { [manifest.version]: { ...manifest, dist } };
      response.end(JSON.stringify({ name, 'dist-tags': { latest: manifest.version }, versions }));
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
