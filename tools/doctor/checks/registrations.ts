import { type Check, type Finding, ok, orElse, warning } from '../check.ts';

/** Conditions that say that something is wrong, by their status. */
const isBad = (type: string, status: string) => (type === 'Ready' ? status === 'False' : status === 'True');

export const registrations: Check = {
  name: 'registrations',
  async look(facts) {
    if (!(await facts.hasRegistrations())) {
      const remedy =
        'apply manifests/crds if pods should get other names than those of their ServiceAccounts';
      return [warning('the CRDs of kubespiffe.io/v1alpha1', 'not installed: no pod is registered', remedy)];
    }
    const all = await facts.registrations();
    const findings = all.flatMap(({ kind, metadata, status }): Finding[] => {
      const [bad] = (status?.conditions ?? []).filter(({ type, status }) => isBad(type, status));
      if (!bad) return [];
      const { namespace, name } = metadata;
      const found = `${bad.type} is ${bad.status} (${bad.reason}): ${bad.message ?? ''}`;
      const where = namespace === undefined ? '' : ` --namespace ${namespace}`;
      const remedy = `see \`kubectl${where} describe ${kind.toLowerCase()} ${name}\``;
      return [warning(`${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`, found, remedy)];
    });
    return orElse(findings, ok(`${all.length} registrations`, 'none reports that something is wrong'));
  },
};
