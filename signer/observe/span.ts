import { messageOf } from '../../spiffe/errors.ts';
import type { Verdict } from './reasons.ts';

/** What a span says besides its name and times. Never a key or a token. */
export type Attributes = Readonly<Record<string, string>>;

/** One step of a trace that is recorded. Each ends once. */
export interface Span {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** Begins a step of this one, now. */
  child(name: string): Span;
  set(attributes: Attributes): void;
  /** Marks it as failed. @param problem what went wrong, as a sentence. */
  fail(problem: string): void;
  end(): void;
}

/** Where a trace begins. */
export interface NewSpan {
  readonly name: string;
  /** `server`: called by another process. */
  readonly kind: 'server' | 'internal';
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  readonly attributes: Attributes;
  /** The id of the trace, 32 lower-case hex digits; a random one if undefined. */
  readonly traceId?: string | undefined;
  /** The header of the caller (W3C Trace Context), whose trace this continues. One that is not valid is ignored. */
  readonly traceparent?: string | undefined;
}

/** @returns undefined for a trace that is not sampled. */
export type StartSpan = (wanted: NewSpan) => Span | undefined;

/** Runs a step, as a span of its own where its parent is recorded. */
export function inSpan<T>(parent: Span | undefined, name: string, step: () => Promise<T>): Promise<T> {
  return parent ? recorded(parent.child(name), step) : step();
}

async function recorded<T>(span: Span, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    span.fail(messageOf(error));
    throw error;
  } finally {
    span.end();
  }
}

/** Shows the result of a request. A span without a certificate or token is marked as failed, with the sentence of the audit line. */
export function showOutcome(span: Span, { verdict, reason, message, spiffeId }: OutcomeOfSpan): void {
  span.set({
    'kubespiffe.outcome': verdict,
    'kubespiffe.reason': reason,
    ...(spiffeId !== undefined && { 'kubespiffe.spiffe_id': spiffeId }),
  });
  if (verdict !== 'issue') span.fail(message);
}

interface OutcomeOfSpan {
  readonly verdict: Verdict;
  readonly reason: string;
  readonly message: string;
  readonly spiffeId: string | undefined;
}
