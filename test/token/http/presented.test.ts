import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { it } from 'node:test';
import { presentedBy } from '../../../signer/token/http/presented.ts';

it('a request with two Authorization headers is refused', () => {
  const shown = (...rawHeaders: string[]) => {
    const read = presentedBy({ rawHeaders } as IncomingMessage, false);
    return read.ok ? read.value.authorization : read.code;
  };
  assert.equal(shown('Host', 'a'), undefined);
  assert.equal(shown('Host', 'Authorization', 'AUTHORIZATION', 'Bearer t'), 'Bearer t');
  assert.equal(shown('Authorization', 'Bearer t', 'authorization', 'Bearer t'), 'CredentialsRepeated');
});
