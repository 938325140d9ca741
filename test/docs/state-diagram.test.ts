import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority, newPool } from '../../signer/authority/create.ts';
import type { AuthorityRecord } from '../../signer/authority/document.ts';
import { authorityStates, isPublished } from '../../signer/authority/states.ts';
import { applyVerb, type Verb, verbs } from '../../signer/authority/verbs.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';

const day = 86_400;
const now = Date.UTC(2026, 10, 29, 12) / 1000;
const facts = {
  now,
  timing: { certificateSeconds: day, rootPropagationSeconds: 390, jwtPropagationSeconds: 900 },
  published: undefined,
};
const trustDomain = 'example.org';
const made = await createAuthority({ id: 'one', trustDomain, now: now - 30 * day });
const other = await createAuthority({ id: 'other', trustDomain, now: now - 30 * day });

/** What each verb makes of an authority in each state, and of the one that was active before. */
async function transitions(): Promise<Set<string>> {
  const found = new Set<string>();
  for (const verb of Object.keys(verbs) as Verb[]) {
    for (const state of authorityStates) {
      const { publishedAt, activatedAt: _, ...rest } = made;
      const one: AuthorityRecord = {
        ...rest,
        state,
        tainted: verb === 'untaint',
        ...(isPublished(state) && { publishedAt }),
      };
      const second: AuthorityRecord = {
        ...other,
        state: state === 'active' ? 'trusted' : 'active',
        publishedAt: rfc3339(now - 20 * day),
      };
      const result = applyVerb(newPool(trustDomain, one, second), verb, 'one', facts);
      if (!result.ok) continue;
      const to = result.document.authorities.find(({ id }) => id === 'one')?.state ?? '[*]';
      if (to !== state) found.add(`${state} --> ${to}: ${verb}`);
      const before = result.document.authorities.find(({ id }) => id === 'other')?.state;
      if (second.state === 'active' && before !== 'active')
        found.add(`active --> ${before}: ${verb} another`);
    }
  }
  return found;
}

test('the state diagram of the CA guide shows every transition of the code, and no other', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/guides/ca.md'), 'utf8');
  const diagram = /```mermaid\nstateDiagram-v2\n([^`]*)```/.exec(page)?.[1] ?? '';
  const drawn = diagram
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  assert.deepEqual(drawn.toSorted(), ['[*] --> prepared: prepare', ...(await transitions())].toSorted());
});
