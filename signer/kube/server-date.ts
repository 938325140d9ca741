import { readStatus } from './api-request.ts';
import type { Incoming } from './exchange.ts';

/** Hundreds of answers of one second have the same Date. */
let last = { date: '', epochMs: Number.NaN };

/**
 * The Date of an answer in epoch milliseconds (whole seconds), where the answer is the API server's own: JSON with a
 * status of 2xx, or an error with a metav1.Status. A proxy that answers in its place has another clock.
 */
export function serverDate({ status, headers, body }: Incoming): number | undefined {
  const { date, 'content-type': contentType } = headers;
  if (typeof date !== 'string' || !/^application\/([\w.+-]*\+)?json\b/.test(String(contentType)))
    return undefined;
  const isSuccess = status >= 200 && status <= 299;
  const isError = status >= 400 && readStatus(body) !== undefined;
  if (!isSuccess && !isError) return undefined;
  if (date !== last.date) last = { date, epochMs: Date.parse(date) };
  return Number.isNaN(last.epochMs) ? undefined : last.epochMs;
}
