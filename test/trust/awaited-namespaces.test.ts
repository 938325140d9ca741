import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { type AwaitedNamespaces, createAwaitedNamespaces } from '../../signer/trust/awaited-namespaces.ts';

describe('the namespaces that a new root waits for', () => {
  let awaited: AwaitedNamespaces;
  beforeEach(() => {
    awaited = createAwaitedNamespaces();
    awaited.follow(['old', 'new'], ['a', 'b', 'c']);
  });

  /** Whether the root may sign, while these namespaces hold it and all others owe it. */
  const isReached = (holding: readonly string[], root = 'new') =>
    awaited.isReached(root, {
      holds: (namespace) => holding.includes(namespace),
      owes: (namespace) => !holding.includes(namespace),
    });

  it('the namespaces that a new root waits for are all existing ones, for each root separately', () => {
    assert.equal(isReached(['a', 'b']), false);
    assert.equal(isReached(['a', 'b', 'c']), true);
    assert.equal(isReached([], 'old'), false);
    assert.equal(isReached(['a', 'b', 'c'], 'of another pool'), false);
  });

  it('a new root does not wait for a namespace that once held it, checked then or not', () => {
    awaited.holds('c', ['new']);
    assert.equal(isReached(['a']), false);
    assert.equal(isReached(['b']), true);
  });

  it('a new root does not wait for namespaces that were created after it', () => {
    awaited.follow(['old', 'new'], ['a', 'b', 'c', 'd']);
    assert.equal(isReached(['a', 'b', 'c']), true);
    awaited.follow(['old', 'new', 'newer'], ['a', 'b', 'c', 'd']);
    assert.equal(isReached(['a', 'b', 'c'], 'newer'), false);
  });

  it('a new root does not wait for a namespace that stopped taking roots, also when it takes them again', () => {
    awaited.leaves('c');
    awaited.follow(['old', 'new'], ['a', 'b', 'c']);
    assert.equal(isReached(['a', 'b']), true);
  });

  it('a new root does not wait for a namespace that refuses, as long as another one holds the root', () => {
    awaited.refuses('c');
    assert.equal(isReached(['a']), false);
    assert.equal(isReached(['a', 'b']), true);
  });

  it('a new root waits for the namespaces that refuse if all do, because a right may be missing', () => {
    for (const namespace of ['a', 'b', 'c']) awaited.refuses(namespace);
    assert.equal(isReached([]), false);
    awaited.complies('a');
    awaited.holds('a', ['new']);
    assert.equal(isReached([]), true);
  });

  it('a new root does not wait for a namespace after three conflicts in a row, and waits after fewer', () => {
    for (let i = 0; i < 2; i += 1) awaited.conflicts('c');
    assert.equal(isReached(['a', 'b']), false);
    awaited.complies('c');
    for (let i = 0; i < 2; i += 1) awaited.conflicts('c');
    assert.equal(isReached(['a', 'b']), false);
    awaited.conflicts('c');
    assert.equal(isReached(['a', 'b']), true);
  });

  it('a new root does not wait for a namespace with conflicts, even if it is the only one that takes roots', () => {
    awaited.follow([], []);
    awaited.follow(['new'], ['a']);
    for (let i = 0; i < 3; i += 1) awaited.conflicts('a');
    assert.equal(isReached([]), true);
  });

  it('a root that has left the pool and comes back waits for all namespaces', () => {
    assert.equal(isReached(['a', 'b', 'c']), true);
    awaited.follow(['old'], ['a', 'b', 'c']);
    assert.equal(isReached(['a', 'b', 'c']), false);
    awaited.follow(['old', 'new'], ['a', 'b', 'c']);
    assert.equal(isReached([]), false);
  });
});
