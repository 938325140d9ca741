// Builds the CoreDNS of the clusters that the tests start, or says where it is.
import { corednsBinary } from '../test/cluster/dns.ts';

console.log(`CoreDNS: ${await corednsBinary()}`);
