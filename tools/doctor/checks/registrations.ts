import { counted } from '../../output.ts';
import { type Finding, type Findings, ok, orElse, warning } from '../check.ts';
import type { Facts } from '../facts.ts';
import type { RegistrationView } from '../views.ts';

/** Conditions that say that something is wrong, by their status. */
const isBad = (type: string, status: string) => (type === 'Ready' ? status === 'False' : status === 'True');

export async function registrations(facts: Facts): Promise<Findings> {
  if (!(await facts.hasRegistrations())) {
    const remedy = 'apply manifests/crds if pods should get other names than those of their ServiceAccounts';
    return warning('the CRDs of kubespiffe.io/v1alpha1', 'not installed: no pod is registered', remedy);
  }
  const all = await facts.registrations();
  const findings = all.flatMap(({ kind, metadata, status }): Findings => {
    const [bad] = (status?.conditions ?? []).filter(({ type, status }) => isBad(type, status));
    if (!bad) return [];
    const { namespace, name } = metadata;
    const found = `${bad.type} is ${bad.status} (${bad.reason}): ${bad.message ?? ''}`;
    const where = namespace === undefined ? '' : ` --namespace ${namespace}`;
    const remedy = `see \`kubectl${where} describe ${kind.toLowerCase()} ${name}\``;
    return warning(titleOf({ kind, metadata }), found, remedy);
  });
  const idle = all.filter(({ status }) => status?.conditions?.some(({ reason }) => reason === 'NoPods'));
  return [
    ...orElse(findings, ok(counted(all.length, 'registration'), 'none reports that something is wrong')),
    ...(idle.length === 0 ? [] : [withoutPods(idle)]),
  ];
}

const titleOf = ({ kind, metadata: { namespace, name } }: Pick<RegistrationView, 'kind' | 'metadata'>) =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;

/** So many are named. */
const mostNamed = 3;

/** Right for a program that is to come, and the only sign of a misspelt label. */
function withoutPods(idle: readonly RegistrationView[]): Finding {
  const more = idle.length > mostNamed ? ` and ${idle.length - mostNamed} more` : '';
  const names = `${idle.slice(0, mostNamed).map(titleOf).join(', ')}${more}`;
  return ok(`${counted(idle.length, 'registration')} without pods`, `no running pod is selected by ${names}`);
}
