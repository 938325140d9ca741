import type { JsonObject } from '../../spiffe/json.ts';
import { parseJwt } from '../../spiffe/jwt-svid.ts';
import type { BundleDocument, Judges } from '../../test/judges/judges.ts';
import { fromNow } from '../../tools/output.ts';
import { card, localTime } from './output.ts';

/** What a JWT-SVID says, decoded. The token itself is a credential: never whole. */
export function describeToken(title: string, token: string): string {
  const jwt = parseJwt(token);
  if (!jwt.ok) throw new Error(`what ${title} got is no JWT: ${jwt.reason}`);
  return card(title, [
    ['token', `${token.slice(0, 24)}… (${token.length} characters)`],
    ...membersOf('header', jwt.value.header),
    ...membersOf('claims', jwt.value.claims),
  ]);
}

/**
 * What go-spiffe says about a token: that it is good for its audience and for no other, by what the endpoint publishes.
 * @throws Error if go-spiffe finds anything else.
 */
export async function describeVerdict(
  judges: Judges,
  token: string,
  audience: string,
  bundle: BundleDocument,
): Promise<string> {
  const published = await judges.spiffeBundle(bundle);
  const verdict = await judges.jwtSvid({ token, audience, bundle });
  if (!verdict.ok) throw new Error(`go-spiffe refuses the token: ${verdict.errors.join('; ')}`);
  const other = 'https://other.example';
  const elsewhere = await judges.jwtSvid({ token, audience: other, bundle });
  if (elsewhere.ok) throw new Error('go-spiffe takes the token for an audience that it is not for');
  const expires = Date.parse(verdict.facts.expiry ?? '') / 1000;
  return card(`bundle of ${bundle.trustDomain}`, [
    ['JWT keys', published.facts.kids ?? ''],
    ['go-spiffe', `accepts the token of ${verdict.facts.id}`],
    ['', `for ${verdict.facts.audience}, until ${localTime(expires)}`],
    ['', `and refuses it for ${other}`],
  ]);
}

const times = new Set(['iat', 'nbf', 'exp']);

function membersOf(title: string, members: JsonObject): [string, string][] {
  return Object.entries(members).map(([name, value], i) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const isTime = times.has(name) && typeof value === 'number';
    const shown = isTime ? `${text}   ${localTime(value)} (${fromNow(value, Date.now() / 1000)})` : text;
    return [i === 0 ? title : '', `${name}  ${shown}`];
  });
}
