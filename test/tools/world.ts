import { loadConfig } from '../../signer/config/load.ts';
import { type CertificateSource, type KnownPod, podsWithSources } from '../../tools/cluster/pods.ts';
import { createWorld, type World } from '../../tools/cluster/world.ts';

/** Objects as the API server has them, by resource. */
export type Objects = Readonly<Record<string, readonly object[]>>;

/** A cluster that holds these objects, as its signers see it. @param flags of the signer. */
export async function aWorld(objects: Objects, flags: readonly string[] = []): Promise<World> {
  const loaded = await loadConfig({
    argv: ['--trust-domain', 'example.org', '--service-dns-enabled', 'true', ...flags],
    env: {},
    readFile: async () => '',
  });
  if (loaded.kind !== 'config') throw new Error(JSON.stringify(loaded));
  const world = createWorld({ config: loaded.config, from: 'a test' });
  for (const listed of [world.pods, ...world.followed.values()]) {
    const wires = objects[listed.spec.resource.name] ?? [];
    listed.store.replace(
      wires.flatMap((wire) => {
        const { metadata } = wire as { metadata: { name: string; namespace?: string } };
        const key = metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
        const kept = listed.project(wire);
        return kept === undefined ? [] : [[key, kept as never] as const];
      }),
    );
  }
  return world;
}

/** The pod shop/web-0 on the wire, with these sources in a volume. */
export function aWirePod(
  sources: readonly Partial<CertificateSource>[] = [{}],
  different: object = {},
): object {
  return {
    metadata: { name: 'web-0', namespace: 'shop', uid: 'u-1', labels: { app: 'web' } },
    spec: {
      nodeName: 'node-1',
      serviceAccountName: 'web',
      volumes: sources.map((source, number) => ({
        name: `volume-${number}`,
        projected: {
          sources: [
            { podCertificate: { signerName: 'kubespiffe.io/spiffe', keyType: 'ECDSAP256', ...source } },
          ],
        },
      })),
    },
    status: { phase: 'Running' },
    ...different,
  };
}

/** What is kept of it. */
export function aKnownPod(...of: Parameters<typeof aWirePod>): KnownPod {
  const facts = podsWithSources().project(aWirePod(...of) as never, 'v1');
  if (!facts) throw new Error('nothing is kept of a pod');
  return facts;
}

/** A Service of the namespace shop that selects `app: web`. */
export const aService = (name: string, selector: object = { app: 'web' }) => ({
  metadata: { name, namespace: 'shop' },
  spec: { type: 'ClusterIP', clusterIP: '10.0.0.1', selector },
});

/** A WorkloadRegistration of the namespace shop for `app: web`. */
export const aRegistration = (name: string, spec: object = {}) => ({
  apiVersion: 'kubespiffe.io/v1alpha1',
  kind: 'WorkloadRegistration',
  metadata: { name, namespace: 'shop' },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/web',
    ...spec,
  },
});
