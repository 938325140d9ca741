import { type Refused, refuse } from '../../observe/checked.ts';
import { explain, type WaitReason } from '../../observe/reasons.ts';

/** The refusal of a request for which nothing can be signed now. */
export function cannotSign(reason: WaitReason, detail: string): Refused {
  return refuse('SigningUnavailable', explain(reason, detail).replace(/\.$/, ''));
}
