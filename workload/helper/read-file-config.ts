import { type Content, type FileConfig, type Password, type PemPart, pemParts } from './config.ts';
import type { Fields } from './fields.ts';
import { passwordDemand, passwordOf } from './password.ts';

/** The contents that are a file of their own, and cannot be joined with others. */
const whole: Readonly<Record<Exclude<Content['kind'], 'pem'>, (fields: Fields) => Content>> = {
  keystore: (fields) => ({ kind: 'keystore', password: readPassword(fields) }),
  truststore: (fields) => ({
    kind: 'truststore',
    password: readPassword(fields),
    federated: fields.flag('federated') ?? false,
  }),
  jwtSvid: (fields) => ({ kind: 'jwtSvid', audience: readAudience(fields, 'audience') }),
  jwks: () => ({ kind: 'jwks' }),
  jwtBundles: () => ({ kind: 'jwtBundles' }),
};

export function readFileConfig(fields: Fields): FileConfig {
  const name = readName(fields, 'name') ?? '';
  if (!fields.has('name')) fields.problem('name', 'is required');
  const content = readContent(fields);
  const mode = readMode(fields, 'mode', isSecret(content) ? 0o600 : 0o644);
  fields.end();
  return { name, mode, content };
}

/** The name of a file in the folder. */
export function readName(fields: Fields, key: string): string | undefined {
  const name = fields.text(key);
  if (name === undefined) return undefined;
  if (name.includes('/'))
    return fields.problem(key, `${JSON.stringify(name)} has a "/"; files are in the folder itself`);
  if (name === '.' || name.startsWith('..')) {
    return fields.problem(key, `${JSON.stringify(name)} begins like the names that the helper uses itself`);
  }
  return Buffer.byteLength(name) > 255 ? fields.problem(key, 'is longer than 255 bytes') : name;
}

function readContent(fields: Fields): Content {
  const words = fields.texts('content') ?? [];
  const [word = '', ...others] = words;
  if (others.length === 0 && Object.hasOwn(whole, word)) return whole[word as keyof typeof whole](fields);
  const isPart = (one: string): one is PemPart => (pemParts as readonly string[]).includes(one);
  const wrong = words.find((one) => !isPart(one));
  if (word === '' || wrong !== undefined) {
    const found = wrong === undefined ? 'is required' : `has ${JSON.stringify(wrong)}`;
    const choices = `one of ${Object.keys(whole).join(', ')}, or one or several of ${pemParts.join(', ')}`;
    fields.problem('content', `${found}; write ${choices}`);
  }
  return { kind: 'pem', parts: words.filter(isPart) };
}

/** Whether a file holds a private key or a token. A truststore is kept from being changed by its password alone. */
function isSecret(content: Content): boolean {
  if (content.kind === 'pem') return content.parts.includes('key');
  return content.kind === 'keystore' || content.kind === 'jwtSvid';
}

function readPassword(fields: Fields): Password {
  const text = fields.text('password');
  const file = fields.text('passwordFile');
  if ((text === undefined) === (file === undefined)) {
    fields.problem(
      'passwordFile',
      'is required: a file with the password in its first line, or else password',
    );
  }
  if (file !== undefined) return { file };
  const secret = passwordOf(text ?? '');
  if (text !== undefined && secret === undefined) {
    fields.problem('password', `cannot be used; write ${passwordDemand}, or passwordFile`);
  }
  return { text: secret ?? '' };
}

export function readAudience(fields: Fields, key: string): readonly string[] {
  const audience = fields.texts(key) ?? [];
  if (!fields.has(key)) fields.problem(key, 'is required: who accepts the token');
  return audience;
}

/** Permission bits in octal digits with a leading zero, as chmod has them. */
export function readMode(fields: Fields, key: string, otherwise: number): number {
  const text = fields.text(key);
  if (text === undefined) return otherwise;
  if (/^0[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  fields.problem(key, `${JSON.stringify(text)} is not a mode; write four octal digits such as 0640`);
  return otherwise;
}
