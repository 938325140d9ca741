import { KubespiffeError } from '../spiffe/errors.ts';
import type { Result } from '../spiffe/pki/result.ts';
import type { Followed } from './follow.ts';
import { keepLastGood, type LastGood } from './last-good.ts';
import {
  type BundleReading,
  type BundleSource,
  mergeBundles,
  readBundles,
  type TrustBundle,
  type TrustBundles,
} from './trust-bundle.ts';

/** The source of what is followed. */
export function bundleSourceOf(followed: Followed<TrustBundles>): BundleSource {
  return {
    get bundles() {
      return followed.value;
    },
    events: followed.events,
    [Symbol.asyncDispose]: () => followed[Symbol.asyncDispose](),
  };
}

/** What is wrong with a text of bundles. @param place what it is called. */
export function bundleProblems({ value, reason }: LastGood<BundleReading>, place: string): KubespiffeError[] {
  const all = [reason, ...(value?.leftOut ?? [])].filter((one) => one !== undefined);
  return all.map((one) => new KubespiffeError('BUNDLE_INVALID', `${place}: ${one}`));
}

/** The text of a bundle, and the one trust domain that it counts for. */
export interface BundleText {
  readonly trustDomain: string;
  /** What it is called in problems. */
  readonly place: string;
  readonly text: Result<string>;
  /** Default: PEM roots, or a SPIFFE bundle document. */
  readonly parse?: (text: string, trustDomain: string) => Result<BundleReading>;
}

/**
 * Makes what joins the bundles of several texts, each time that one of them may have changed. A text that cannot be used leaves
 * the last good bundle of its place in use, and a place that is gone takes its bundle with it. The same texts give the same map.
 */
export function createBundleReader(): (texts: readonly BundleText[]) => {
  readonly bundles: TrustBundles;
  readonly problems: readonly KubespiffeError[];
  /** Whether there is a bundle of each text. */
  readonly isComplete: boolean;
} {
  let parsers = new Map<string, ReturnType<typeof keepLastGood<BundleReading>>>();
  let before: readonly (TrustBundle | undefined)[] = [];
  let bundles: TrustBundles = new Map();

  return (texts) => {
    const known = parsers;
    parsers = new Map();
    const read = texts.map(({ trustDomain, place, text, parse = readBundles }) => {
      const name = `${trustDomain} ${place}`;
      const parser = known.get(name) ?? keepLastGood((each) => parse(each, trustDomain));
      parsers.set(name, parser);
      const found = parser(text);
      const bundle = found.value?.bundles.get(trustDomain);
      return {
        trustDomain,
        bundle,
        isRead: found.value !== undefined,
        problems: bundleProblems(found, place),
      };
    });
    const found = read.map(({ bundle }) => bundle);
    const isSame = found.length === before.length && found.every((one, index) => one === before[index]);
    if (!isSame)
      bundles = mergeBundles(
        read.map(({ trustDomain, bundle }) => new Map(bundle && [[trustDomain, bundle]])),
      );
    before = found;
    return {
      bundles,
      problems: read.flatMap(({ problems }) => problems),
      isComplete: read.every(({ isRead }) => isRead),
    };
  };
}
