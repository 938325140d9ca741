import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decisivePublication, type Publication } from '../../signer/trust/publication.ts';

const way = (place: string): Publication => ({
  place,
  whenShown: place,
  isPublished: () => false,
  problem: () => undefined,
});
const bundle = way('bundle');
const maps = way('ConfigMaps');

describe('what decides whether a root is published', () => {
  const rows: [
    lacksBundles: boolean,
    configMaps: Publication | undefined,
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
    it(`${cluster}, with ${settings}: ${place}`, () => {
      assert.equal(decisivePublication({ bundle, configMaps, endpointAlone, lacksBundles }).place, place);
    });
  }
});
