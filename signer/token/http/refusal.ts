import type { FastifyReply } from 'fastify';
import { describe, type Refused } from '../../observe/checked.ts';
import { refusals } from '../../observe/refusals.ts';

const retryAfterSeconds = 2;

export function sendRefusal(reply: FastifyReply, refusal: Refused): FastifyReply {
  const { status, verdict } = refusals[refusal.code];
  reply.code(status).headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  if (verdict === 'wait') reply.header('retry-after', String(retryAfterSeconds));
  return reply.type('application/json').send(bodyOf(refusal));
}

/** RFC 6749 5.2, and our own code, which the documentation has a heading for. */
export function bodyOf(refusal: Refused): string {
  const { error } = refusals[refusal.code];
  return JSON.stringify({ error, error_description: describe(refusal), reason: refusal.code });
}
