import type { Setting } from './setting.ts';
import { settings } from './settings.ts';
import { type SignerSection, signerSections, signerSettings } from './signer-settings.ts';

/** One set of names of a setting. */
export interface Names {
  /** In the file: `maxLifetime` at the top, `signers.spiffe.maxLifetime` in the section of a signer. */
  readonly path: string;
  readonly flag: string;
  readonly variable: string;
}

/** A setting as it can be given. A setting of signers has an entry for each signer that has it. */
export interface Entry {
  readonly key: string;
  /** Undefined for what all signers share. */
  readonly signer: string | undefined;
  readonly setting: Setting<unknown>;
  readonly names: readonly [Names, ...Names[]];
}

/** A setting under one of its names. */
export interface Named {
  readonly entry: Entry;
  readonly names: Names;
}

/** Every setting, and where each name leads. */
export type Table = ReturnType<typeof createTable>;

/** Its settings may also be given without its name, as when it was the only signer. */
const unnamedSigner = 'spiffe';

/** The table of these signers. */
export function createTable(sections: Readonly<Record<string, SignerSection>>) {
  const shared = Object.entries(settings).map(
    ([key, setting]): Entry => ({ key, signer: undefined, setting, names: [namesOf(key)] }),
  );
  const ofSigners = Object.entries(sections).flatMap(([signer, { settings: declared, different = {} }]) =>
    declared.map((key): Entry => {
      const own = namesOf(key, signer);
      return {
        key,
        signer,
        setting: { ...signerSettings[key], ...different[key] },
        names: signer === unnamedSigner ? [own, namesOf(key)] : [own],
      };
    }),
  );
  const entries = [...shared, ...ofSigners];
  const by = (name: keyof Names): ReadonlyMap<string, Named> =>
    new Map(entries.flatMap((entry) => entry.names.map((names) => [names[name], { entry, names }])));
  return {
    entries,
    signers: Object.keys(sections),
    /** Signers that have values of another one, by name. */
    others: new Map(
      Object.entries(sections).flatMap(([signer, { others }]) =>
        others === undefined ? [] : [[signer, others]],
      ),
    ),
    byPath: by('path'),
    byFlag: by('flag'),
    byVariable: by('variable'),
  };
}

/** `maxLifetime` of `spiffe`: `signers.spiffe.maxLifetime`, `--spiffe-max-lifetime`, `KUBESPIFFE_SPIFFE_MAX_LIFETIME`. */
function namesOf(key: string, signer?: string): Names {
  const words = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const dashed = signer === undefined ? words : `${signer}-${words}`;
  return {
    path: signer === undefined ? key : `signers.${signer}.${key}`,
    flag: `--${dashed}`,
    variable: `KUBESPIFFE_${dashed.replaceAll('-', '_').toUpperCase()}`,
  };
}

/** The table of the signers that there are. */
export const table = createTable(signerSections);
