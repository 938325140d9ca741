import assert from 'node:assert/strict';
import type { ControlPlane } from '../cluster/control-plane.ts';

interface Role {
  rules: { resources?: string[]; nonResourceURLs?: string[]; verbs: string[] }[];
}

const objectsOf = ({ resources = [], nonResourceURLs = [] }: Role['rules'][number]) => [
  ...resources,
  ...nonResourceURLs,
];

/** Roles that stand at the API server. A grant is one verb on one resource or URL: `secrets get`, `/metrics get`. */
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
        rules.flatMap((rule) =>
          objectsOf(rule).flatMap((object) => rule.verbs.map((verb) => `${object} ${verb}`)),
        ),
      );
    },
    async without(grant, look) {
      const [resource = '', verb = ''] = grant.split(' ');
      for (const path of paths) {
        const { rules } = await read(path);
        const rule = rules.find((each) => objectsOf(each).includes(resource) && each.verbs.includes(verb));
        if (!rule) continue;
        const { resources, nonResourceURLs } = rule;
        const others = {
          ...rule,
          ...(resources && { resources: resources.filter((one) => one !== resource) }),
          ...(nonResourceURLs && { nonResourceURLs: nonResourceURLs.filter((one) => one !== resource) }),
        };
        const rest = {
          ...rule,
          ...(resources ? { resources: [resource] } : { nonResourceURLs: [resource] }),
          verbs: rule.verbs.filter((one) => one !== verb),
        };
        const split = [
          ...(objectsOf(others).length > 0 ? [others] : []),
          ...(rest.verbs.length > 0 ? [rest] : []),
        ];
        const fewer = rules.flatMap((one) => (one === rule ? split : [one]));
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
