import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { startNode } from '../cluster/node.ts';
import { checkout } from '../docs/markdown.ts';
import { trustDomain } from './installation.ts';
import { itMovesFiles, itMovesWorkloadApi } from './moves/tests.ts';
import { follow, openReader, type Reader } from './reader.ts';

/** What both migrations need: roots of others, the Workload API by a label, and the bundles that it asks for. */
const install = `
  helm install kubespiffe manifests/chart --namespace kubespiffe --create-namespace \
    --set settings.trustDomain=${trustDomain} --set image.tag=dev \
    --set components.federation=true --set components.injection=true --set components.tokenEndpoint=true \
    --set settings.jwtIssuer=https://identity.example.org \
    --set settings.leafPodIdentity=true --set settings.tokenClientCertificates=true
  kubespiffe ca create --ca-id first --trust-domain ${trustDomain}
  kubectl --namespace kubespiffe rollout status deployment/kubespiffe-signer --timeout 180s`;

describe('coming from other tools', () => {
  let controlPlane: ControlPlane;
  let reader: Reader;
  const at = () => ({ controlPlane, reader });

  before(async () => {
    controlPlane = await startControlPlane({ complete: true });
    const node = await startNode(controlPlane);
    await node.importImage(join(checkout, 'dist/kubespiffe-image.tar'));
    reader = await openReader(controlPlane);
    await follow(reader, controlPlane, { code: install, info: '' });
  });
  after(() => controlPlane?.stop());

  describe('csi-driver-spiffe', () => itMovesFiles(at));
  describe('SPIRE', () => itMovesWorkloadApi(at));
});
