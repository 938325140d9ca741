import { KubespiffeError } from '../spiffe/errors.ts';
import type { Authorities } from './authorities.ts';
import type { ControlAnswer, ControlRequest } from './control.ts';
import type { Workload, WorkloadName } from './workload.ts';
import type { Workloads } from './workloads.ts';

/** What `kubespiffe dev run`, `rotate`, `expire` and `taint` make a running trust domain do. */
export function createAnswers(needs: {
  readonly trustDomain: string;
  readonly tokenEndpoint: string;
  readonly authorities: Authorities;
  readonly workloads: Workloads;
  readonly add: (name: WorkloadName) => Promise<Workload>;
}): (request: ControlRequest) => Promise<ControlAnswer> {
  const { trustDomain, tokenEndpoint, authorities, workloads } = needs;

  function named(names: readonly WorkloadName[]): readonly Workload[] {
    if (names.length === 0) return workloads.all();
    return names.map((name) => {
      const found = workloads.find(name);
      if (found) return found;
      const hint = `there are ${workloads.all().map(nameOf).join(', ')}`;
      throw new KubespiffeError('USAGE', `there is no workload ${name.namespace}/${name.name}`, { hint });
    });
  }

  async function act(request: ControlRequest): Promise<Pick<ControlAnswer, 'lines' | 'workload'>> {
    switch (request.ask) {
      case 'workload':
        return { lines: [], workload: await needs.add(request.workloads[0]) };
      case 'rotate':
        return { lines: await workloads.renew(named(request.workloads)) };
      case 'expire':
        return { lines: await workloads.expire(named(request.workloads)) };
      case 'rotate-ca': {
        const waitSeconds = await authorities.rotate();
        if (waitSeconds === 0) return { lines: ['The next CA and JWT key sign from now on.'] };
        const hint = `try again in ${waitSeconds} s`;
        throw new KubespiffeError('USAGE', 'the next CA was published a moment ago', { hint });
      }
      case 'taint':
        await authorities.taint();
        return { lines: await workloads.renew(workloads.all()) };
      default:
        throw new KubespiffeError('USAGE', 'this `kubespiffe dev` does not know that command', {
          hint: 'it may be of another version; start it again',
        });
    }
  }
  return async (request) => ({ ...(await act(request)), trustDomain, tokenEndpoint });
}

const nameOf = ({ namespace, serviceAccount }: Workload) => `${namespace}/${serviceAccount.name}`;
