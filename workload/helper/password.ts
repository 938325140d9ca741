/** Node.js encrypts a private key with this much of a password, and ignores the rest without an error. The MAC takes all of it. */
const maxBytes = 1_024;

/** What a password must be, for messages. */
export const passwordDemand = `a password of 1 to ${maxBytes} bytes in UTF-8`;

/** The password in a text: a byte order mark is no part of it. Undefined if no keystore can be made with it. */
export function passwordOf(text: string): string | undefined {
  const password = text.replace(/^\uFEFF+/, '');
  // U+FFFD is what the bytes of another encoding become.
  const isUsable = password !== '' && Buffer.byteLength(password) <= maxBytes && !/[\0\uFFFD]/.test(password);
  return isUsable ? password : undefined;
}
