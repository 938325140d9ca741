import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { blocksOf, checkout, readPages } from './markdown.ts';

interface Source {
  signerName?: string;
  labelSelector?: { matchLabels?: Record<string, string>; matchExpressions?: unknown };
}

/** Every `clusterTrustBundle` source of a volume in a value, however deep. */
function sourcesIn(value: unknown): Source[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [
    ...(name === 'sources' ? (inner as { clusterTrustBundle?: Source }[]) : []).flatMap(
      ({ clusterTrustBundle }) => clusterTrustBundle ?? [],
    ),
    ...sourcesIn(inner),
  ]);
}

const sourcesOf = (yaml: string): Source[] =>
  parseAllDocuments(yaml).flatMap((document) => sourcesIn(document.toJS()));

/** YAML of the docs and the manifests, by the place where a reader finds it. */
async function examples(): Promise<[place: string, yaml: string][]> {
  const blocks = (await readPages()).flatMap((page) =>
    blocksOf(page)
      .filter(({ language }) => language === 'yaml')
      .map(({ code, heading }): [string, string] => [`${page.path}, ${heading}`, code]),
  );
  const files = (await readdir(join(checkout, 'manifests'), { recursive: true })).filter(
    // A schema may have a field of that name.
    (path) => path.endsWith('.yaml') && !path.startsWith('crds/'),
  );
  const manifests = files.map(
    async (path): Promise<[string, string]> => [
      `manifests/${path}`,
      await readFile(join(checkout, 'manifests', path), 'utf8'),
    ],
  );
  return [...blocks, ...(await Promise.all(manifests))];
}

test('every example selects the live roots of one trust domain, of all but the own one, or of service-dns', async () => {
  const found: string[] = [];
  for (const [place, yaml] of await examples()) {
    for (const { signerName, labelSelector } of sourcesOf(yaml)) {
      found.push(place);
      const labels = labelSelector?.matchLabels ?? {};
      if (signerName === 'kubespiffe.io/service-dns') {
        assert.deepEqual(labels, { 'kubespiffe.io/canarying': 'live' }, place);
        continue;
      }
      assert.ok(['kubespiffe.io/spiffe', 'kubespiffe.io/pod-identity'].includes(signerName ?? ''), place);
      const others = labelSelector?.matchExpressions;
      assert.deepEqual(
        Object.keys(labels).sort(),
        ['canarying', ...(others ? [] : ['peer-trust-domain']), 'workload-trust-domain'].map(
          (name) => `k8s.spiffe.io/${name}`,
        ),
        place,
      );
      const own = labels['k8s.spiffe.io/workload-trust-domain'];
      const butOwn = [{ key: 'k8s.spiffe.io/peer-trust-domain', operator: 'NotIn', values: [own] }];
      if (others) assert.deepEqual(others, butOwn, place);
    }
  }
  assert.ok(found.some((place) => place.startsWith('README.md')));
  assert.ok(found.filter((place) => place.startsWith('manifests/')).length >= 3);
});
