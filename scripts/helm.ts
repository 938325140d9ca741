// Builds the Helm with which the tests install manifests/chart, or says where it is.
import { helmBinary } from '../test/cluster/helm.ts';

console.log(`Helm: ${await helmBinary()}`);
