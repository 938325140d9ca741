import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { describeInjection } from '../manifests/injection.ts';
import { clusterChoices } from './clusters.ts';

const base = join(import.meta.dirname, '../../manifests/base');

/** Without a node: the API server alone changes and refuses the pods. */
for (const version of new Set(clusterChoices().map((choice) => choice.version))) {
  // Beta and off by default before 1.36, as docs/guides/injection.md says.
  const isBeta = version.startsWith('1.35.');
  const apiServerFlags = [
    '--feature-gates=MutatingAdmissionPolicy=true',
    '--runtime-config=admissionregistration.k8s.io/v1beta1=true',
  ];

  describe(`injection on Kubernetes ${version}`, () => {
    let controlPlane: ControlPlane;
    before(async () => {
      controlPlane = await startControlPlane({ version, ...(isBeta && { apiServerFlags }) });
      await controlPlane.kubectl(['apply', '--server-side', '-k', base]);
    });
    after(() => controlPlane?.stop());

    describeInjection(() => controlPlane, isBeta ? 'v1beta1' : 'v1');
  });
}
