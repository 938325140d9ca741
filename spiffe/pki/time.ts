import { contentOf, derError, type Element, tags } from './der.ts';

/** Whole seconds since the epoch. */
export type Seconds = number;

/** RFC 3339 in UTC, to the second, as the API server writes its times. */
export function rfc3339(seconds: Seconds): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}

/** First second that UTCTime cannot say: 2050-01-01T00:00:00Z (RFC 5280 4.1.2.5). */
const generalizedFrom: Seconds = Date.UTC(2050, 0, 1) / 1000;
/** UTCTime begins with 1950, GeneralizedTime ends with 9999. */
const earliest: Seconds = Date.UTC(1950, 0, 1) / 1000;
const latest: Seconds = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;

/** Number of octets of the element that `writeTime` makes for this time. */
export function timeLength(time: Seconds): number {
  return time < generalizedFrom ? 15 : 17;
}

/**
 * Writes the element of a Time as RFC 5280 4.1.2.5 wants it: UTCTime through 2049, GeneralizedTime after that.
 * Returns the offset behind it. Throws DER_INVALID where no Time can say it.
 */
export function writeTime(target: Uint8Array, offset: number, time: Seconds): number {
  if (!Number.isInteger(time) || time < earliest || time > latest) {
    throw derError(`${time} is not a time between 1950 and 9999 in whole seconds`);
  }
  const date = new Date(time * 1000);
  const short = time < generalizedFrom;
  const year = date.getUTCFullYear();
  target[offset] = short ? tags.utcTime : tags.generalizedTime;
  target[offset + 1] = short ? 13 : 15;
  let at = offset + 2;
  if (!short) at = writeTwoDigits(target, at, Math.floor(year / 100));
  at = writeTwoDigits(target, at, year % 100);
  at = writeTwoDigits(target, at, date.getUTCMonth() + 1);
  at = writeTwoDigits(target, at, date.getUTCDate());
  at = writeTwoDigits(target, at, date.getUTCHours());
  at = writeTwoDigits(target, at, date.getUTCMinutes());
  at = writeTwoDigits(target, at, date.getUTCSeconds());
  target[at] = 0x5a;
  return at + 1;
}

function writeTwoDigits(target: Uint8Array, offset: number, value: number): number {
  target[offset] = 0x30 + Math.floor(value / 10);
  target[offset + 1] = 0x30 + (value % 10);
  return offset + 2;
}

/** The time of a UTCTime or GeneralizedTime in the one form that RFC 5280 allows: to the second, with Z. */
export function timeOf(element: Element, what: string): Seconds {
  const text = Buffer.from(contentOf(element)).toString('latin1');
  if (element.tag === tags.utcTime && /^[0-9]{12}Z$/.test(text)) {
    const century = Number(text.slice(0, 2)) < 50 ? '20' : '19';
    return calendar(`${century}${text}`, what);
  }
  if (element.tag === tags.generalizedTime && /^[0-9]{14}Z$/.test(text)) return calendar(text, what);
  throw derError(`${what} is not a time of the form that RFC 5280 4.1.2.5 allows`);
}

function calendar(text: string, what: string): Seconds {
  const part = (from: number, to: number): number => Number(text.slice(from, to));
  const month = part(4, 6);
  const date = new Date(0);
  date.setUTCFullYear(part(0, 4), month - 1, part(6, 8));
  date.setUTCHours(part(8, 10), part(10, 12), part(12, 14));
  // A date that does not exist (30 February, hour 24) would have been carried over into another one.
  const iso = date.toISOString();
  if (iso.length !== 24 || iso.replace(/[-:T]/g, '').slice(0, 14) !== text.slice(0, 14)) {
    throw derError(`${what} is not a date of the calendar`);
  }
  return date.getTime() / 1000;
}
