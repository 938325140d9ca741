import { hash } from 'node:crypto';
import type { DebianPackage } from './debian.ts';
import type { Entry } from './tar.ts';

/** What the lock file says about one npm package. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity, such as `sha512-…`. */
  readonly integrity: string;
  /** SPDX: one licence, or an expression. */
  readonly license: string;
}

/**
 * The software bill of materials, as CycloneDX 1.6: Node, the Debian packages of its libraries, the npm packages, and
 * kubespiffe itself. It has no time and no serial number, so that two builds are the same.
 */
export function sbomEntry(parts: {
  readonly version: string;
  readonly node: { readonly version: string; readonly binary: Uint8Array };
  readonly debian: readonly DebianPackage[];
  readonly npm: readonly LockedPackage[];
}): Entry {
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: { type: 'application', name: 'kubespiffe', version: parts.version, licenses: apache },
    },
    components: [
      nodeComponent(parts.node),
      ...parts.debian.map(({ name, version, architecture }) => ({
        type: 'library',
        'bom-ref': `deb/${name}`,
        name,
        version,
        purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`,
      })),
      ...parts.npm.map(npmComponent),
    ],
  };
  const content = Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`);
  return { path: 'app/sbom.cdx.json', mode: 0o644, content };
}

const apache = [{ license: { id: 'Apache-2.0' } }];

/** The name in the National Vulnerability Database is what scanners look a bare binary up by. */
function nodeComponent({ version, binary }: { version: string; binary: Uint8Array }) {
  return {
    type: 'application',
    'bom-ref': 'node',
    name: 'node',
    version,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    purl: `pkg:generic/node@${version}`,
    hashes: [{ alg: 'SHA-256', content: hash('sha256', binary, 'hex') }],
  };
}

function npmComponent({ name, version, integrity, license }: LockedPackage) {
  const [algorithm = '', digest = ''] = integrity.split('-');
  const [, scope, rest] = /^(?:@([^/]+)\/)?(.+)$/.exec(name) ?? [];
  const path = scope === undefined ? rest : `%40${scope}/${rest}`;
  return {
    type: 'library',
    'bom-ref': `npm/${name}@${version}`,
    name,
    version,
    purl: `pkg:npm/${path}@${version}`,
    licenses: [license.includes(' ') ? { expression: license } : { license: { id: license } }],
    hashes: [
      { alg: algorithm.replace('sha', 'SHA-'), content: Buffer.from(digest, 'base64').toString('hex') },
    ],
  };
}
