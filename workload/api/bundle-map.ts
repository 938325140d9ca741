import { isJsonObject, parseJsonBytes } from '../../spiffe/json.ts';
import { failure, type Result, success } from '../../spiffe/pki/result.ts';
import { readBundles, type TrustBundle, type TrustBundles } from '../trust-bundle.ts';

/** The bundles that the token endpoint gives to a workload. */
export interface ReadBundleMap {
  /** The JWT keys of the own trust domain, and all of the others. */
  readonly bundles: TrustBundles;
  readonly refreshHintSeconds: number | undefined;
  /** What was left out, and why. */
  readonly leftOut: readonly string[];
}

/**
 * Reads the answer of `/bundles`, in the form of gRPC proposal A87. Without the own bundle it is a failure; another one that
 * cannot be used is left out. The own roots are not taken from it: kubelet delivers them. Pure, never throws.
 */
export function readBundleMap(document: Uint8Array, trustDomain: string): Result<ReadBundleMap> {
  const json = parseJsonBytes(document, 'the answer');
  if (!json.ok) return json;
  const all = isJsonObject(json.value) ? json.value.trust_domains : undefined;
  if (!isJsonObject(all)) return failure('the answer has no trust_domains');
  const bundles = new Map<string, TrustBundle>();
  const leftOut: string[] = [];
  for (const [name, bundle] of Object.entries(all)) {
    const read = readBundles(JSON.stringify(bundle), name);
    if (!read.ok) {
      if (name === trustDomain) return failure(`the bundle of ${name}: ${read.reason}`);
      leftOut.push(`the bundle of ${name}: ${read.reason}`);
      continue;
    }
    leftOut.push(...read.value.leftOut.map((each) => `the bundle of ${name}: ${each}`));
    const { roots = [], jwtKeys = new Map() } = read.value.bundles.get(name) ?? {};
    bundles.set(name, { roots: name === trustDomain ? [] : roots, jwtKeys });
  }
  if (!bundles.has(trustDomain)) return failure(`the answer has no bundle of ${trustDomain}`);
  return success({ bundles, refreshHintSeconds: hintOf(all[trustDomain]), leftOut });
}

function hintOf(bundle: unknown): number | undefined {
  const hint = isJsonObject(bundle) ? bundle.spiffe_refresh_hint : undefined;
  return typeof hint === 'number' && Number.isSafeInteger(hint) && hint > 0 ? hint : undefined;
}
