/** What a configuration file says. Every scalar is its text, so that `0640` stays what was written. */
export type Tree = string | readonly Tree[] | { readonly [name: string]: Tree };

/** Something wrong in a configuration file. */
export interface Problem {
  /** The key, such as `files[1].mode`. */
  readonly place: string;
  readonly message: string;
}

/** Reads the keys of one object. What is wrong is added to the problems, and the value is then undefined. */
export interface Fields {
  /** Whether the key is present. */
  has(name: string): boolean;
  /** A text, not empty. */
  text(name: string): string | undefined;
  /** One text or several. */
  texts(name: string): readonly string[] | undefined;
  flag(name: string): boolean | undefined;
  object(name: string): Fields | undefined;
  /** One object or several. */
  objects(name: string): readonly Fields[];
  names(): readonly string[];
  /** Keys that are not read. */
  skip(...names: readonly string[]): void;
  problem(name: string, message: string): undefined;
  /** Reports the keys that were not read. */
  end(): void;
}

export function fieldsOf(tree: Tree, place: string, problems: Problem[]): Fields {
  const isObject = (value: Tree): value is { readonly [name: string]: Tree } =>
    typeof value === 'object' && !Array.isArray(value);
  if (!isObject(tree)) problems.push({ place: place || 'the file', message: 'needs keys and values' });
  const values = isObject(tree) ? tree : {};
  const asked = new Set<string>();
  const placeOf = (name: string) => (place === '' ? name : `${place}.${name}`);
  const get = (name: string): Tree | undefined => {
    asked.add(name);
    return Object.hasOwn(values, name) ? values[name] : undefined;
  };
  const problem = (name: string, message: string): undefined => {
    problems.push({ place: placeOf(name), message });
  };
  const text = (name: string, value: Tree | undefined): string | undefined => {
    if (value === undefined) return undefined;
    if (typeof value === 'string' && value !== '' && !value.includes('\0')) return value;
    return problem(
      name,
      typeof value === 'string' ? 'must not be empty or have a NUL character' : 'needs one value',
    );
  };
  return {
    has: (name) => Object.hasOwn(values, name),
    text: (name) => text(name, get(name)),
    texts(name) {
      const value = get(name);
      if (value === undefined) return undefined;
      const all = [value].flat().map((each) => text(name, each as Tree));
      if (all.length === 0) return problem(name, 'needs at least one value');
      return all.every((each) => each !== undefined) ? all : undefined;
    },
    flag(name) {
      const value = get(name);
      if (value === undefined || value === 'true' || value === 'false') return value && value === 'true';
      return problem(name, 'is true or false');
    },
    object(name) {
      const value = get(name);
      return value === undefined ? undefined : fieldsOf(value, placeOf(name), problems);
    },
    objects(name) {
      const value = get(name);
      if (value === undefined) return [];
      return [value]
        .flat()
        .map((each, index) => fieldsOf(each as Tree, placeOf(`${name}[${index}]`), problems));
    },
    names() {
      for (const name of Object.keys(values)) asked.add(name);
      return Object.keys(values);
    },
    skip(...names) {
      for (const name of names) asked.add(name);
    },
    problem,
    end() {
      for (const name of Object.keys(values)) {
        if (!asked.has(name)) problem(name, `is not a key; there are ${[...asked].join(', ')}`);
      }
    },
  };
}
