import type { ControlPlane } from '../cluster/control-plane.ts';

/** Registers the pods of a namespace that have the label `app` with this value: their ID is `/ns/<namespace>/app/<app>`. */
export async function registerApp(
  { kubectl }: Pick<ControlPlane, 'kubectl'>,
  namespace: string,
  app: string,
): Promise<string> {
  const registration = `apiVersion: kubespiffe.io/v1alpha1
kind: WorkloadRegistration
metadata:
  name: ${app}
  namespace: ${namespace}
spec:
  podSelector:
    matchLabels:
      app: ${app}
  spiffeIDTemplate: spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/app/{{ index .PodMeta.Labels "app" }}
`;
  await kubectl(['apply', '-f', '-'], { input: registration });
  return registration;
}
