import { parseJsonObject } from '../../../spiffe/json.ts';
import { percentDecoded } from '../../../spiffe/pki/text.ts';
import { registrationNameProblem } from '../../identity/identify-registered.ts';
import { type Checked, pass, refuse } from '../../observe/checked.ts';
import { type Credential, credentialOf, type Presented } from '../caller/credential.ts';

/** A request for a JWT-SVID, in either form. */
export interface TokenRequest {
  readonly credential: Credential;
  readonly audiences: readonly string[];
  /** Name of the registration that is meant; undefined for the one that counts for the pod. */
  readonly registration?: string;
}

export const grantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const jwtTokenType = 'urn:ietf:params:oauth:token-type:jwt';

const known = new Set([
  'grant_type',
  'subject_token',
  'subject_token_type',
  'requested_token_type',
  'audience',
  'registration',
]);
/** RFC 8693 2.1 allows several targets; of all else there is one. */
const mayRepeat = new Set(['audience']);

/**
 * Reads a token exchange (RFC 8693 2.1), form-encoded. Parameters that would change the meaning (actor_token, scope,
 * resource) are refused, not ignored: a client that sends them expects an effect. Pure.
 *
 * @param presented nothing, as the credential is in the form.
 */
export function readExchange(body: string, presented: Presented): Checked<TokenRequest> {
  // URLSearchParams accepts broken percent-encoding as it is, and replaces bytes that are not UTF-8.
  if (percentDecoded(body) === undefined)
    return refuse('RequestMalformed', 'the form has percent-encoding that is invalid or not UTF-8');
  const form = new URLSearchParams(body);
  const names = [...form.keys()];
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) return refuse('ParameterUnsupported', nameOf(unknown));
  const repeated = names.find((name, index) => !mayRepeat.has(name) && names.indexOf(name) !== index);
  if (repeated !== undefined) return refuse('ParameterRepeated', repeated);
  if (presented.authorization !== undefined) {
    return refuse('CredentialsRepeated', 'subject_token and an Authorization header');
  }
  if (presented.peer?.certificate) {
    return refuse('CredentialsRepeated', 'subject_token and a client certificate');
  }

  const grant = form.get('grant_type');
  if (!grant) return refuse('ParameterMissing', 'grant_type');
  if (grant !== grantType) return refuse('GrantTypeUnsupported');
  const subjectToken = form.get('subject_token');
  if (!subjectToken) return refuse('TokenMissing', 'subject_token');
  const subjectTokenType = form.get('subject_token_type');
  if (!subjectTokenType) return refuse('ParameterMissing', 'subject_token_type');
  if (subjectTokenType !== jwtTokenType) return refuse('TokenTypeUnsupported', 'subject_token_type');
  // An access token would be one of RFC 9068, with another typ and other claims.
  const requested = form.get('requested_token_type') ?? jwtTokenType;
  if (requested !== jwtTokenType) return refuse('TokenTypeUnsupported', 'requested_token_type');
  const audiences = form.getAll('audience');
  return withRegistration(
    { credential: { kind: 'token', token: subjectToken }, audiences },
    form.get('registration'),
  );
}

/**
 * Reads the short form: the ServiceAccount token as Bearer (RFC 6750 2.1) or a client certificate, and
 * `{"audience":"…"}` or `{"audience":["…"]}`, with `"registration":"…"` where one is meant. Pure.
 */
export function readShortForm(body: string, presented: Presented): Checked<TokenRequest> {
  const credential = credentialOf(presented);
  if (!credential.ok) return credential;
  const read = parseJsonObject(body, 'the body');
  if (!read.ok) return refuse('RequestMalformed', read.reason);
  const unknown = Object.keys(read.value).find((name) => name !== 'audience' && name !== 'registration');
  if (unknown !== undefined) return refuse('ParameterUnsupported', nameOf(unknown));
  const { audience = [], registration } = read.value;
  const audiences = Array.isArray(audience) ? audience : [audience];
  if (!audiences.every((one) => typeof one === 'string')) {
    return refuse('RequestMalformed', 'audience is neither a string nor a list of strings');
  }
  return withRegistration({ credential: credential.value, audiences }, registration);
}

/** The registration that a request asks for, if it names one. Pure. */
export function withRegistration<T extends object>(
  request: T,
  name: unknown,
): Checked<T & { registration?: string }> {
  if (name === null || name === undefined) return pass(request);
  if (typeof name !== 'string' || registrationNameProblem(name) !== undefined) {
    return refuse('RequestMalformed', 'registration is not the name of a registration');
  }
  return pass({ ...request, registration: name });
}

/** A secret may be in the place of a name, so only text that looks like the name of a parameter is quoted. */
function nameOf(name: string): string {
  return /^[a-z_]{1,40}$/.test(name) ? name : '(name not shown)';
}
