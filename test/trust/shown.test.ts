import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createStore } from '../../signer/kube/store.ts';
import type { PublishedBundle } from '../../signer/trust/bundle.ts';
import type { OptedIn, PublishedRoots } from '../../signer/trust/roots-configmap.ts';
import { shownRoots } from '../../signer/trust/shown.ts';

const bundleName = 'example.com:signer:live';

function aBundle(...roots: string[]): PublishedBundle {
  const common = { name: bundleName, resourceVersion: '1', labels: {}, annotations: {}, ends: new Map() };
  return { ...common, roots: new Set(roots) };
}

function someRoots(...roots: string[]): PublishedRoots {
  const common = {
    uid: '',
    resourceVersion: '1',
    isOurs: true,
    holdsMore: false,
    labels: {},
    pem: undefined,
  };
  return { ...common, roots: new Set(roots) };
}

describe('the roots that are seen where they are published', () => {
  const whatIsWatched = () => {
    const bundles = createStore<PublishedBundle>();
    const configMaps = { namespaces: createStore<OptedIn>(), published: createStore<PublishedRoots>() };
    return { bundles, bundleName, lacksBundles: false, configMaps };
  };

  it('are those of our bundle, once bundles were read, whatever is in ConfigMaps', () => {
    const watched = whatIsWatched();
    watched.configMaps.namespaces.replace([]);
    watched.configMaps.published.replace([['a/roots', someRoots('of a ConfigMap')]]);
    assert.equal(shownRoots(watched), undefined);
    watched.bundles.replace([]);
    assert.deepEqual(shownRoots(watched), new Set());
    watched.bundles.set('another', aBundle('foreign'));
    watched.bundles.set(bundleName, aBundle('one', 'two'));
    assert.deepEqual(shownRoots(watched), new Set(['one', 'two']));
  });

  it('are those of all ConfigMaps where no bundles are served, once both lists are in', () => {
    const watched = { ...whatIsWatched(), lacksBundles: true };
    watched.bundles.replace([[bundleName, aBundle('of a bundle')]]);
    assert.equal(shownRoots(watched), undefined);
    watched.configMaps.published.replace([
      ['a/roots', someRoots('one')],
      ['b/roots', someRoots('one', 'two')],
    ]);
    assert.equal(shownRoots(watched), undefined);
    watched.configMaps.namespaces.replace([]);
    assert.deepEqual(shownRoots(watched), new Set(['one', 'two']));
  });

  it('are none, and that is known at once, where neither is published', () => {
    assert.deepEqual(
      shownRoots({ ...whatIsWatched(), lacksBundles: true, configMaps: undefined }),
      new Set(),
    );
  });
});
