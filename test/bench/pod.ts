import { type Place, signerName } from './place.ts';

/** A pod with the parts that make real pods large: labels, environment, probes, volumes. */
export function podObject(name: string, { serviceAccount, node }: Place): object {
  const env = Array.from({ length: 12 }, (_, index) => ({
    name: `SETTING_${index}`,
    value: `the value of setting ${index}, as long as such values are`,
  }));
  return {
    metadata: {
      name,
      labels: {
        'app.kubernetes.io/name': 'bench',
        'app.kubernetes.io/instance': name,
        'pod-template-hash': '5d9c8b7f6',
      },
    },
    spec: {
      nodeName: node.name,
      serviceAccountName: serviceAccount.name,
      automountServiceAccountToken: false,
      containers: [
        {
          name: 'app',
          image: 'registry.example/bench/app:1.2.3',
          ports: [{ containerPort: 8443, name: 'https' }],
          env,
          resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
          readinessProbe: { httpGet: { path: '/readyz', port: 'https', scheme: 'HTTPS' } },
          volumeMounts: [{ name: 'identity', mountPath: '/var/run/identity', readOnly: true }],
        },
      ],
      volumes: [
        {
          name: 'identity',
          projected: {
            sources: [
              {
                podCertificate: {
                  signerName,
                  keyType: 'ECDSAP256',
                  credentialBundlePath: 'credential-bundle.pem',
                },
              },
            ],
          },
        },
      ],
    },
  };
}
