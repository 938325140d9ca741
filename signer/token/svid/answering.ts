import type { Caller, ProvedOwner } from '../caller/caller.ts';
import { type Checked, pass, type Refused } from '../refusals.ts';

/** What a service does with a request that could be read. */
export type Issue<Request, Given, Facts> = (
  request: Request,
  /** To be called as soon as it is proved whose request it is: what is refused after that can be told on the pod. */
  known: (caller: Caller) => void,
) => Promise<Checked<{ readonly given: Given; readonly facts: Facts }>>;

/** Answers a request. @param read as far as it could be read. address: of the caller. startedAt: monotonic ms. */
export type Answer<Request, Given> = (
  read: Checked<Request>,
  address: string,
  startedAt: number,
) => Promise<Checked<Given>>;

/** Makes of a service one that tells about every answer, whatever came of it. */
export function answering<Request, Given, Facts>(needs: {
  readonly issue: Issue<Request, Given, Facts>;
  readonly tell: (told: {
    readonly address: string;
    readonly elapsedMs: number;
    readonly caller?: ProvedOwner;
    readonly outcome: { readonly ok: true; readonly issued: Facts } | Refused;
  }) => void;
  readonly monotonic: () => number;
}): Answer<Request, Given> {
  return async (read, address, startedAt) => {
    let caller: ProvedOwner | undefined;
    const outcome = read.ok
      ? await needs.issue(read.value, (whose) => {
          caller = whose;
        })
      : read;
    if (!outcome.ok) caller ??= outcome.owner;
    needs.tell({
      address,
      elapsedMs: needs.monotonic() - startedAt,
      ...(caller && { caller }),
      outcome: outcome.ok ? { ok: true, issued: outcome.value.facts } : outcome,
    });
    return outcome.ok ? pass(outcome.value.given) : outcome;
  };
}
