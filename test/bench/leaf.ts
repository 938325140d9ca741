// What a certificate costs on this machine, from the base64 of a request to the PEM chain, beside a bare
// signature: node test/bench/leaf.ts [--json]. Rounds of all cases are interleaved, and the figures are medians,
// because machines are noisy. A P-256 authority signs; kubelet's default subject keys come first.
import { randomBytes, sign } from 'node:crypto';
import { parseArgs } from 'node:util';
import { issueLeaf } from '../../signer/authority/issue-leaf.ts';
import { identify } from '../../signer/identity/identify.ts';
import { leafValidity } from '../../signer/issuance/validity.ts';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { makeKey, type TestKeyName } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';

const rounds = 15;
const roundMs = 150;
const policy = { maxLifetimeSeconds: 86_400, refreshFraction: 0.5, refreshJitter: 0.1 };

interface Case {
  readonly name: string;
  readonly run: () => unknown;
  /** Microseconds per run, one figure for each round. */
  readonly figures: number[];
}

const ca = await makeCa();
const authority = authorityOf(ca);
const now = Math.floor(Date.now() / 1000);

function issue(request: string): Promise<unknown> {
  const key = readCsrKey(Buffer.from(request, 'base64'));
  const identity = identify({ namespace: 'shop', serviceAccountName: 'web' }, { trustDomain: 'example.org' });
  const validity = leafValidity({
    now,
    maxExpirationSeconds: 86_400,
    policy,
    authorityNotBefore: authority.notBefore,
    authorityNotAfter: authority.notAfter,
    jitter: Math.random(),
  });
  if (key.kind !== 'supported' || !identity.ok || !validity)
    throw new Error('the request should be answered');
  const { subject } = identity;
  return issueLeaf({
    authority,
    profile: svidProfile,
    subject,
    key,
    validity,
    serial: makeSerial(randomBytes),
  });
}

function caseOf(name: string, run: () => unknown): Case {
  return { name, run, figures: [] };
}

const tbs = randomBytes(409);
const subjects: readonly TestKeyName[] = ['ECDSA P-256', 'Ed25519', 'RSA 3072', 'ECDSA P-521'];
const bare = caseOf('bare P-256 signature', () => sign('sha256', tbs, ca.key.privateKey));
const cases: readonly Case[] = [
  bare,
  ...subjects.map((name) => {
    const request = stubRequest(makeKey(name)).toString('base64');
    return caseOf(`request to PEM, ${name} subject`, () => issue(request));
  }),
  ...subjects.map((name) => {
    const request = stubRequest(makeKey(name));
    return caseOf(`request to key alone, ${name}`, () => readCsrKey(request));
  }),
];

/** Microseconds per run. All cases are awaited, so that each bears what that costs. */
async function measure(run: () => unknown): Promise<number> {
  const started = performance.now();
  let runs = 0;
  for (; performance.now() - started < roundMs; runs += 10) for (let i = 0; i < 10; i++) await run();
  return ((performance.now() - started) * 1000) / runs;
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? Number.NaN;
}

for (const { run } of cases) await measure(run);
for (let round = 0; round < rounds; round++) {
  for (const { run, figures } of cases) figures.push(await measure(run));
}

const table = cases.map(({ name, figures }) => ({
  case: name,
  microseconds: Number(median(figures).toFixed(1)),
  timesBareSignature: Number(
    median(figures.map((figure, round) => figure / (bare.figures[round] ?? 1))).toFixed(2),
  ),
}));
const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
if (values.json) console.log(JSON.stringify(table));
else console.table(table);
