import { goBinary } from '../cluster/go-binary.ts';

/** The `judges` binary. Takes half a minute on 2 cores after Kubernetes was built there, a few minutes before. */
export function judgesBinary(): Promise<string> {
  const title = 'the judges from go-spiffe and Kubernetes';
  return goBinary({ name: 'judges', folder: import.meta.dirname, title });
}
