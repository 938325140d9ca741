import { hash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Entry, packTar } from './tar.ts';

export interface ImageSettings {
  /** Such as `kubespiffe.io/kubespiffe:dev`. */
  readonly reference: string;
  /** As Go names it: amd64 or arm64. */
  readonly architecture: string;
  /** From the one that changes least to the one that changes most. */
  readonly layers: readonly { readonly comment: string; readonly entries: readonly Entry[] }[];
  /** The runtime configuration of the image specification. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface Image {
  /** An OCI image layout as a tar archive, for `ctr image import` and `docker load`. */
  readonly archive: Buffer;
  /** Digest of the manifest. */
  readonly digest: string;
  /** What a registry would store and a node pull. */
  readonly compressedBytes: number;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations?: Record<string, string>;
}

// The image must not depend on when it was built.
const created = '1970-01-01T00:00:00Z';
const digestOf = (bytes: Uint8Array): string => `sha256:${hash('sha256', bytes, 'hex')}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** Packs an image (OCI image specification 1.1). The same input gives the same bytes and the same digest. */
export function packImage({ reference, architecture, layers, config }: ImageSettings): Image {
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest, size: bytes.length };
  };

  const archives = layers.map(({ entries }) => packTar(entries));
  const packed = archives.map((archive) => add('layer.v1.tar+gzip', gzipSync(archive, { level: 6 })));
  const configuration = add(
    'config.v1+json',
    json({
      created,
      architecture,
      os: 'linux',
      config,
      rootfs: { type: 'layers', diff_ids: archives.map(digestOf) },
      history: layers.map(({ comment }) => ({ created, created_by: 'scripts/image.ts', comment })),
    }),
  );
  const manifest = add(
    'manifest.v1+json',
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: configuration,
      layers: packed,
    }),
  );
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...manifest,
        platform: { architecture, os: 'linux' },
        // The first is what containerd names the image by, the second what the specification asks for.
        annotations: {
          'io.containerd.image.name': reference,
          'org.opencontainers.image.ref.name': reference.slice(reference.lastIndexOf(':') + 1),
        },
      },
    ],
  };

  const files: Entry[] = [
    { path: 'oci-layout', mode: 0o644, content: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', mode: 0o644, content: json(index) },
    ...[...blobs].map(([digest, content]) => ({
      path: `blobs/${digest.replace(':', '/')}`,
      mode: 0o644,
      content,
    })),
  ];
  const compressedBytes = [...blobs.values()].reduce((total, blob) => total + blob.length, 0);
  return { archive: packTar(files), digest: manifest.digest, compressedBytes };
}
