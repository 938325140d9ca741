import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describe as descriptionOf, refuse } from '../../signer/observe/checked.ts';
import { refusals } from '../../signer/observe/refusals.ts';

describe('descriptions', () => {
  it('a refusal has only the characters of RFC 6749 5.2, with any detail', () => {
    for (const code of Object.keys(refusals) as (keyof typeof refusals)[]) {
      const text = descriptionOf(refuse(code, 'a "quote", a \\ and \u00e4\r\n\u0000 $& {}'));
      assert.match(text, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/, code);
    }
  });

  /** How a sentence begins that is an instruction. */
  const imperatives =
    /^(add|ask|check|choose|correct|disable|leave|project|read|recreate|report|request|reuse|see|send|set|sign|try|use) /;

  it('the description of a refusal says what to do, with a detail of any length', () => {
    for (const code of Object.keys(refusals) as (keyof typeof refusals)[]) {
      const { problem, remedy } = refusals[code];
      assert.match(remedy, imperatives, code);
      assert.doesNotMatch(`${problem}${remedy}`, /[.;]$|;/, code);
      const [detail, filled] = ['x'.repeat(10_000), 'x'.repeat(300)];
      assert.ok(descriptionOf(refuse(code, detail)).endsWith(`; ${remedy.replace('{}', filled)}.`), code);
    }
  });

  it('the description of a refusal has a limited length', () => {
    assert.ok(descriptionOf(refuse('TokenRefused', 'x'.repeat(10_000))).length < 500);
  });

  it('the refusals are a table whose waits are 429, 500 or 503 and whose denials are 4xx', () => {
    for (const [code, { verdict, status }] of Object.entries(refusals)) {
      if (verdict === 'wait') assert.ok([429, 500, 503].includes(status), code);
      else assert.ok(status >= 400 && status < 500 && status !== 429, code);
    }
  });
});
