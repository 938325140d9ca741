import { isJsonObject, type JsonObject, parseJsonObject } from '../../spiffe/json.ts';
import { nearest } from '../../spiffe/nearest.ts';
import type { CertificateFacts } from '../../spiffe/pki/certificate.ts';
import { rfc3339, type Seconds } from '../../spiffe/pki/time.ts';
import { freeId, isAuthorityId, type PoolDocument } from './document.ts';
import { lostRoots } from './lost-roots.ts';
import { compilePool } from './pool.ts';
import { type PoolProblem, poolProblem } from './problem.ts';
import { authorityFields, readPoolDocument } from './read-document.ts';
import { freshSequence } from './sequence.ts';
import { carryRoots } from './transitions.ts';

/** What is wrong with a pool, and what puts it right; undefined where that takes a person. */
export interface Finding {
  readonly problem: PoolProblem;
  readonly repair: string | undefined;
}

export interface Examination {
  /** In the order in which they come to light: a problem may hide the next one. */
  readonly findings: readonly Finding[];
  /** The pool after all repairs; undefined where a problem remains that none of them solves. */
  readonly document: PoolDocument | undefined;
}

/** What the cluster shows of the pool. */
export interface Published {
  readonly roots: readonly CertificateFacts[];
  readonly sequence?: number;
}

/** More problems than this no hand makes. */
const mostRepairs = 100;

/**
 * Looks for everything that keeps a pool from being read, and repairs what can be repaired without loss: no key that signs,
 * no root that is published, and no taint goes. Pure; `now` in seconds since the epoch.
 *
 * @param json the content of `pool.json`. trustDomain: that of the signer, or of the pool itself if absent.
 */
export function examinePool(
  json: string,
  published: Published,
  { now, trustDomain }: { readonly now: Seconds; readonly trustDomain?: string },
): Examination {
  const findings: Finding[] = [];
  let text = json;
  while (findings.length < mostRepairs) {
    const read = readPoolDocument(text);
    const compiled = read.ok ? compilePool(read.document, trustDomain ?? read.document.trustDomain) : read;
    if (read.ok && compiled.ok) return againstPublished(read.document, findings, published, now);
    const problem = compiled.ok ? undefined : compiled.problem;
    if (!problem) break;
    const parsed = parseJsonObject(text, 'the text');
    const repaired = parsed.ok ? repairOf(problem, parsed.value, now) : undefined;
    findings.push({ problem, repair: repaired?.does });
    if (!repaired) break;
    text = JSON.stringify(repaired.pool);
  }
  return { findings, document: undefined };
}

/** A pool that is sound by itself may still be older than what is published, or lack roots of it. */
function againstPublished(
  document: PoolDocument,
  findings: readonly Finding[],
  { roots, sequence }: Published,
  now: Seconds,
): Examination {
  const compiled = compilePool(document, document.trustDomain);
  const lost = compiled.ok ? lostRoots(compiled.pool, roots, now) : [];
  const all = [...findings];
  for (const { sha256Hex } of lost) {
    const what = `lacks the published root with SHA-256 ${sha256Hex}, and certificates in use may need it`;
    const remedy = 'put a copy back with `kubespiffe ca restore`';
    all.push({
      problem: poolProblem('PoolRootsMissing', 'pool.authorities', what, remedy),
      repair: 'add the root as a trust anchor without a key, retiring',
    });
  }
  if (sequence !== undefined && document.sequence < sequence) {
    const what = `is ${document.sequence}, and a pool of sequence ${sequence} was published`;
    const remedy = 'put the newest copy back with `kubespiffe ca restore`';
    all.push({
      problem: poolProblem('PoolSequenceNotRaised', 'pool.sequence', what, remedy),
      repair: 'raise the sequence above it',
    });
  }
  if (all.length === 0) return { findings, document };
  const next = freshSequence(now, document.sequence, sequence ?? 0);
  return { findings: all, document: { ...carryRoots(document, lost, now), sequence: next } };
}

interface Repaired {
  readonly does: string;
  readonly pool: JsonObject;
}

/** The repair of one problem in what a pool is written as. */
function repairOf(problem: PoolProblem, pool: JsonObject, now: Seconds): Repaired | undefined {
  const authorities = Array.isArray(pool.authorities) ? pool.authorities : [];
  const [, place = '', member = ''] = /^pool\.authorities\[(\d+)\]\.?(\w*)/.exec(problem.field) ?? [];
  const index = place === '' ? -1 : Number(place);
  const authority: unknown = authorities[index];
  if (!isJsonObject(authority)) return undefined;
  const { id, state } = authority;
  const name = typeof id === 'string' && isAuthorityId(id) ? `authority ${id}` : `authority ${index}`;
  const replaced = (does: string, ...by: JsonObject[]): Repaired => ({
    does,
    pool: { ...pool, authorities: authorities.toSpliced(index, 1, ...by) },
  });
  const without = (field: string) => {
    const { [field]: _, ...rest } = authority;
    return rest;
  };

  const misspelt = problem.what.startsWith('is not a field') ? renamed(authority) : undefined;
  if (misspelt) return replaced(`rename ${misspelt.from} of ${name} to ${misspelt.to}`, misspelt.authority);
  if (member === 'id' && typeof id === 'string' && isAuthorityId(id)) {
    const next = freeId(id, new Set(authorities.map((each) => (isJsonObject(each) ? String(each.id) : ''))));
    return replaced(`name the second ${id} ${next}`, { ...authority, id: next });
  }
  if (state === 'prepared' || state === 'preview') {
    return replaced(`remove ${name}: it is in no live bundle and has signed nothing`);
  }
  if (member === 'state' && state === 'active') return oneActive(pool, authorities, authority, now);
  if (member !== 'privateKey' || authority.privateKey === undefined) {
    const isKeyless = member === 'privateKey' && state === 'active';
    const does = `make ${name} retiring: it has no key, so it signs nothing`;
    return isKeyless
      ? replaced(does, { ...authority, state: 'retiring', deactivatedAt: rfc3339(now) })
      : undefined;
  }
  // The key of what signs may be in a backup.
  if (state === 'active') return undefined;
  return replaced(`remove the key of ${name}: it does not sign, and its root stays`, without('privateKey'));
}

/** If two authorities are active, the one that began later signs, unless it is tainted and the other is not. */
function oneActive(
  pool: JsonObject,
  authorities: readonly unknown[],
  second: JsonObject,
  now: Seconds,
): Repaired | undefined {
  const isRival = (each: unknown): each is JsonObject =>
    isJsonObject(each) && each.kind === second.kind && each.state === 'active' && each !== second;
  const first = authorities.find(isRival);
  if (!first) return undefined;
  const since = ({ activatedAt }: JsonObject) => Date.parse(String(activatedAt)) || 0;
  const isTainted = ({ tainted }: JsonObject) => tainted === true;
  const isByTaint = isTainted(first) !== isTainted(second);
  const firstWins = isByTaint ? isTainted(second) : since(first) > since(second);
  const [winner, loser] = firstWins ? [first, second] : [second, first];
  const retiring = { ...loser, state: 'retiring', deactivatedAt: rfc3339(now) };
  return {
    does: `make authority ${loser.id} retiring: ${winner.id} ${isByTaint ? 'is not tainted' : 'became active later'} and signs`,
    pool: { ...pool, authorities: authorities.map((each) => (each === loser ? retiring : each)) },
  };
}

/** A field that does not exist, and is one typing mistake away from one that is missing. */
function renamed(authority: JsonObject): { from: string; to: string; authority: JsonObject } | undefined {
  for (const from of Object.keys(authority)) {
    if (authorityFields.includes(from) || !/^[A-Za-z]{1,32}$/.test(from)) continue;
    const missing = authorityFields.filter((each) => !Object.hasOwn(authority, each));
    const to = nearest(from, missing, 1);
    if (to === undefined) continue;
    const entries = Object.entries(authority).map(([key, value]) => [key === from ? to : key, value]);
    return { from, to, authority: Object.fromEntries(entries) };
  }
  return undefined;
}
