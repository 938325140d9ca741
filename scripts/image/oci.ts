import { hash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Entry, packTar } from './tar.ts';

export interface ImageSettings {
  /** Such as `kubespiffe.io/kubespiffe:dev`. */
  readonly reference: string;
  /** One, or several: then the image is an index of them. */
  readonly platforms: readonly Platform[];
  /** The runtime configuration of the image specification. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What the image says about itself: `org.opencontainers.image.…`. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Platform {
  /** As Go names it: amd64 or arm64. */
  readonly architecture: string;
  /** From the one that changes least to the one that changes most. */
  readonly layers: readonly { readonly comment: string; readonly entries: readonly Entry[] }[];
}

export interface Image {
  /** An OCI image layout as a tar archive, for `ctr image import` and `docker load`. */
  readonly archive: Buffer;
  /** Digest of the manifest, or of the index of several. */
  readonly digest: string;
  /** What a registry would store and a node pull. */
  readonly compressedBytes: number;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { architecture: string; os: string };
  annotations?: Record<string, string>;
}

// The image must not depend on when it was built.
const created = '1970-01-01T00:00:00Z';
const digestOf = (bytes: Uint8Array): string => `sha256:${hash('sha256', bytes, 'hex')}`;
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** Packs an image (OCI image specification 1.1). The same input gives the same bytes and the same digest. */
export async function packImage(settings: ImageSettings): Promise<Image> {
  const { reference, platforms, config, annotations } = settings;
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, bytes: Buffer): Descriptor => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { mediaType: `application/vnd.oci.image.${mediaType}`, digest, size: bytes.length };
  };
  const addManifest = async ({ architecture, layers }: Platform): Promise<Descriptor> => {
    const archives = await Promise.all(layers.map(({ entries }) => packTar(entries)));
    const packed = archives.map((archive) => add('layer.v1.tar+gzip', gzipSync(archive, { level: 6 })));
    const rootfs = { type: 'layers', diff_ids: archives.map(digestOf) };
    const history = layers.map(({ comment }) => ({ created, created_by: 'scripts/image.ts', comment }));
    const platform = { architecture, os: 'linux' };
    const configuration = {
      created,
      ...platform,
      config: { ...config, Labels: annotations },
      rootfs,
      history,
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: add('config.v1+json', json(configuration)),
      layers: packed,
      annotations,
    };
    return { ...add('manifest.v1+json', json(manifest)), platform };
  };
  const indexOf = (manifests: readonly Descriptor[]) => ({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests,
  });

  const manifests = await Promise.all(platforms.map(addManifest));
  const [only, ...others] = manifests;
  const image =
    only && others.length === 0 ? only : add('index.v1+json', json({ ...indexOf(manifests), annotations }));
  const named = {
    ...image,
    // The first is what containerd names the image by, the second what the specification asks for.
    annotations: {
      'io.containerd.image.name': reference,
      'org.opencontainers.image.ref.name': reference.slice(reference.lastIndexOf(':') + 1),
    },
  };
  const files: Entry[] = [
    { path: 'oci-layout', mode: 0o644, content: json({ imageLayoutVersion: '1.0.0' }) },
    { path: 'index.json', mode: 0o644, content: json(indexOf([named])) },
    ...[...blobs].map(([digest, content]) => ({
      path: `blobs/${digest.replace(':', '/')}`,
      mode: 0o644,
      content,
    })),
  ];
  const compressedBytes = [...blobs.values()].reduce((total, blob) => total + blob.length, 0);
  return { archive: await packTar(files), digest: image.digest, compressedBytes };
}
