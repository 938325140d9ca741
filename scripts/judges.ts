// Builds the judges (go-spiffe and Kubernetes' own validation) that the tests ask, or says where they are.
import { judgesBinary } from '../test/judges/build.ts';

console.log(`judges: ${await judgesBinary()}`);
