import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { mostServiceNames } from './service-names.ts';

/** The annotation of a request that chooses among the Services that select the pod: their names, with commas between. */
export const servicesAnnotation = 'kubespiffe.io/services';

/** The names of Services in the annotation, or why it can never be right. Pure. */
export function chosenServices(value: string): Result<readonly string[]> {
  const names = value.split(',', mostServiceNames + 1).map((part) => part.trim());
  if (names.length > mostServiceNames) {
    return failure(
      `names more than ${mostServiceNames} Services; each gives the certificate at least one name`,
    );
  }
  for (const name of names) {
    if (name === '') return failure('has an empty name; write the names of Services with commas between');
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
      const shown = JSON.stringify(name.slice(0, 70));
      return failure(
        `has ${shown}, which is not the name of a Service; only those of the pod's namespace count`,
      );
    }
  }
  return success([...new Set(names)]);
}
