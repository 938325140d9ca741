import type { Entry } from '../../signer/config/table.ts';

const texts: Readonly<Record<string, string>> = {
  'KIND/NAME': 'Issuer/a',
  'NAMESPACE/NAME': 'kubespiffe/a',
  'HOST:PORT': ':9443',
  'CIDR,…': '10.0.0.0/8',
  URL: 'https://id.example.org',
};

/**
 * Values of a setting that are good by themselves, as they stand in YAML: each of a few words, or one. A text is the key of
 * the setting, since audiences must differ. A number is the highest.
 */
export function examplesOf({ key, setting }: Entry): readonly (string | number | boolean)[] {
  const { words, placeholder, schema } = setting.type;
  if (words?.includes('true')) return [true, false];
  if (words) return words;
  if (typeof schema?.maximum === 'number') return [schema.maximum];
  return [setting.default ?? texts[placeholder] ?? (placeholder.includes('|') ? 'aws' : key.toLowerCase())];
}
