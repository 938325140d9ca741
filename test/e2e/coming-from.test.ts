import { after, before, describe } from 'node:test';
import { trustDomain } from './installation.ts';
import { itMovesFiles, itMovesWorkloadApi } from './moves/tests.ts';
import { follow, type ReaderCluster, startReaderCluster } from './reader.ts';

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
  let cluster: ReaderCluster;
  const at = () => cluster;

  before(async () => {
    cluster = await startReaderCluster();
    await follow(cluster.reader, cluster.controlPlane, { code: install, info: '' });
  });
  after(() => cluster?.controlPlane.stop());

  describe('csi-driver-spiffe', () => itMovesFiles(at));
  describe('SPIRE', () => itMovesWorkloadApi(at));
});
