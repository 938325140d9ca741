import { textOf } from '../../spiffe/pki/text.ts';
import type { InformerSpec } from '../kube/informer.ts';
import type { Secret } from '../kube/types.ts';
import { type PoolDocument, writePoolDocument } from './document.ts';

/** Where a pool is. */
export interface PoolPlace {
  readonly namespace: string;
  readonly name: string;
}

/** The Secret that holds a pool. */
export const poolSecret = {
  type: 'kubespiffe.io/authority-pool',
  key: 'pool.json',
  labels: { 'app.kubernetes.io/managed-by': 'kubespiffe' },
} as const;

/** The JSON of the pool that a Secret holds; undefined where it has no such key. */
export function poolJsonIn(secret: {
  readonly data?: Readonly<Record<string, unknown>>;
}): string | undefined {
  const encoded = secret.data?.[poolSecret.key];
  return typeof encoded === 'string' ? textOf(Buffer.from(encoded, 'base64')) : undefined;
}

/** The pool Secret and no other. */
export function poolSecretNamed({ namespace, name }: PoolPlace): InformerSpec<Secret, Secret> {
  const resource = { group: '', versions: ['v1'], name: 'secrets' } as const;
  return { resource, namespace, name, fields: true, project: (secret) => secret };
}

/** The data of a pool Secret, values in base64. */
export function serializePool(document: PoolDocument): Record<string, string> {
  return { [poolSecret.key]: Buffer.from(writePoolDocument(document)).toString('base64') };
}

/** A pool Secret as it is made. */
export function newPoolSecret({ namespace, name }: PoolPlace, document: PoolDocument) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: poolSecret.type,
    metadata: { namespace, name, labels: { ...poolSecret.labels } },
    data: serializePool(document),
  } satisfies Secret;
}
