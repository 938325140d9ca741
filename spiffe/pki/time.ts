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
  const century = Number(text.slice(0, 2)) < 50 ? '20' : '19';
  const full = element.tag === tags.utcTime ? `${century}${text}` : text;
  const isTime = element.tag === tags.utcTime || element.tag === tags.generalizedTime;
  if (!isTime || !/^[0-9]{14}Z$/.test(full)) {
    throw derError(`${what} is not a time of the form that RFC 5280 4.1.2.5 allows`);
  }
  const iso = full.replace(/(....)(..)(..)(..)(..)(..)Z/, '$1-$2-$3T$4:$5:$6.000Z');
  const time = Date.parse(iso);
  // 30 February and hour 24 are carried over into another date.
  if (Number.isNaN(time) || new Date(time).toISOString() !== iso) {
    throw derError(`${what} is not a date of the calendar`);
  }
  return time / 1000;
}
