// Builds the OpenTelemetry collector to which the tests send traces, or says where it is.
import { collectorBinary } from '../test/cluster/collector.ts';

console.log(`OpenTelemetry collector: ${await collectorBinary()}`);
