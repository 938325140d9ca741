import { inSpan, type Span } from '../../observe/span.ts';
import type { Authenticated, ProvedOwner } from '../caller/caller.ts';

/** One request, from its first byte to its answer. */
export interface RequestContext {
  /** Without the query; empty if it could not be read. */
  readonly path: string;
  /** Address of the client. */
  readonly address: string;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  /** The pod that sent it, once that is proved. */
  caller: ProvedOwner | undefined;
  /** Where its trace is recorded. */
  span?: Span | undefined;
}

/** Verifies the credential of a request. The audit line names its pod also if the credential is refused. */
export async function authenticateIn(
  context: RequestContext,
  authenticate: () => Promise<Authenticated>,
): Promise<Authenticated> {
  const authenticated = await inSpan(context.span, 'authenticate', authenticate);
  context.caller = authenticated.ok ? authenticated.value : authenticated.owner;
  return authenticated;
}
