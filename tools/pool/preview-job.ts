import { spiffe } from '../../signer/signers/spiffe.ts';

/** The Job that verifies a test certificate by the preview bundle, in a pod like those of workloads. */
export function previewJob(wanted: {
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly trustDomain: string;
  /** PEM, the leaf first. */
  readonly chain: string;
  readonly timeoutSeconds: number;
}) {
  const { namespace, trustDomain } = wanted;
  const folder = '/run/preview';
  const labels = {
    'app.kubernetes.io/name': 'kubespiffe',
    'app.kubernetes.io/component': 'preview-verification',
    'app.kubernetes.io/managed-by': 'kubespiffe',
  };
  const container = {
    name: 'verify',
    image: wanted.image,
    imagePullPolicy: wanted.imagePullPolicy,
    args: ['inspect', `${folder}/chain.pem`, '--roots', `${folder}/roots.pem`, '--trust-domain', trustDomain],
    // The output of a failed container becomes its termination message.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [{ name: 'preview', mountPath: folder, readOnly: true }],
  };
  const sources = [
    {
      clusterTrustBundle: {
        signerName: spiffe.signerName,
        labelSelector: { matchLabels: { 'k8s.spiffe.io/canarying': 'preview' } },
        path: 'roots.pem',
      },
    },
    {
      downwardAPI: {
        items: [{ path: 'chain.pem', fieldRef: { fieldPath: `metadata.annotations['${chainAnnotation}']` } }],
      },
    },
  ];
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { generateName: 'kubespiffe-verify-preview-', namespace, labels },
    spec: {
      // The root may come to the pod a little later than the pod itself.
      backoffLimit: 3,
      activeDeadlineSeconds: wanted.timeoutSeconds,
      ttlSecondsAfterFinished: 3_600,
      template: {
        metadata: { labels, annotations: { [chainAnnotation]: wanted.chain } },
        spec: {
          // A failed pod stays, with its log.
          restartPolicy: 'Never',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 65532,
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [container],
          volumes: [{ name: 'preview', projected: { sources } }],
        },
      },
    },
  };
}

const chainAnnotation = 'kubespiffe.io/test-certificate';
