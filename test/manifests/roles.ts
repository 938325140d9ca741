import assert from 'node:assert/strict';
import type { ControlPlane } from '../cluster/control-plane.ts';

interface Role {
  rules: { resources: string[]; verbs: string[] }[];
}

/** Roles that stand at the API server. A grant is one verb on one resource: `secrets get`. */
export interface Roles {
  grants(): Promise<string[]>;
  /** Takes one grant away, looks what happens, and gives it back. @returns what was seen. */
  without<T>(grant: string, look: () => Promise<T>): Promise<T>;
}

/** @param paths of the roles and cluster roles, below the API server. */
export function rolesAt(controlPlane: ControlPlane, paths: readonly string[]): Roles {
  const read = async (path: string) => (await controlPlane.request('GET', path)).body as Role;
  const put = (path: string, rules: Role['rules']) => controlPlane.request('PATCH', path, { rules });
  return {
    async grants() {
      const all = await Promise.all(paths.map(read));
      return all.flatMap(({ rules }) =>
        rules.flatMap(({ resources, verbs }) =>
          resources.flatMap((resource) => verbs.map((verb) => `${resource} ${verb}`)),
        ),
      );
    },
    async without(grant, look) {
      const [resource = '', verb = ''] = grant.split(' ');
      for (const path of paths) {
        const { rules } = await read(path);
        const rule = rules.find(
          ({ resources, verbs }) => resources.includes(resource) && verbs.includes(verb),
        );
        if (!rule) continue;
        const verbs = rule.verbs.filter((one) => one !== verb);
        const fewer = rules.flatMap((one) =>
          one !== rule ? one : verbs.length > 0 ? { ...rule, verbs } : [],
        );
        assert.equal((await put(path, fewer)).status, 200);
        try {
          return await look();
        } finally {
          await put(path, rules);
        }
      }
      assert.fail(`no rule grants ${grant}`);
    },
  };
}
