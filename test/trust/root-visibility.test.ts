import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decisiveVisibility, type RootVisibility } from '../../signer/trust/root-visibility.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';

const way = (place: string): RootVisibility => ({
  place,
  whenVisible: place,
  isVisible: () => false,
  problem: () => undefined,
});
const bundle = way('bundle');
const maps = way('ConfigMaps');

describe('where a root must be visible', () => {
  const rows: [
    lacksBundles: boolean,
    configMaps: RootVisibility | undefined,
    endpointAlone: boolean,
    place: string,
  ][] = [
    [false, undefined, false, 'bundle'],
    [false, maps, true, 'bundle'],
    [false, undefined, true, 'bundle'],
    [true, maps, true, 'ConfigMaps'],
    [true, maps, false, 'ConfigMaps'],
    [true, undefined, true, 'the token endpoint'],
    [true, undefined, false, 'bundle'],
  ];
  for (const [lacksBundles, configMaps, endpointAlone, place] of rows) {
    const cluster = `${lacksBundles ? 'without' : 'with'} ClusterTrustBundles`;
    const settings = `${configMaps ? 'ConfigMaps' : 'no ConfigMaps'}, ${endpointAlone ? 'the' : 'not the'} token endpoint alone`;
    it(`the place where roots must be visible in ${cluster}, with ${settings}: ${place}`, () => {
      assert.equal(decisiveVisibility({ bundle, configMaps, endpointAlone, lacksBundles }).place, place);
    });
  }
});

it('no root is visible in a bundle that was seen before the API server stopped serving bundles', () => {
  const seen = { ...bundle, isVisible: () => true };
  const visibility = decisiveVisibility({
    bundle: seen,
    configMaps: undefined,
    endpointAlone: false,
    lacksBundles: true,
  });
  assert.equal(visibility.isVisible({} as CertificateFacts), false);
  assert.match(
    visibility.problem() ?? '',
    /serves no ClusterTrustBundles; enable them .*, or set rootsConfigMap/,
  );
});
