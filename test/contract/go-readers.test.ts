import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { checkAuthority } from '../../spiffe/conformance.ts';
import { makeSpiffeId } from '../../spiffe/id.ts';
import { readCertificate } from '../../spiffe/pki/certificate.ts';
import { readCsrKey } from '../../spiffe/pki/csr.ts';
import { makeSerial } from '../../spiffe/pki/serial.ts';
import { readSubjectKey, type SubjectKey } from '../../spiffe/pki/spki.ts';
import { subjectAltName } from '../../spiffe/pki/subject-alt-name.ts';
import { svidProfile } from '../../spiffe/svid-profile.ts';
import { parseIssuingTrustDomain } from '../../spiffe/trust-domain.ts';
import { type Answer, type Judges, openJudges, type Question } from '../judges/judges.ts';
import { authorityOf, makeCa } from '../spiffe/pki/authorities.ts';
import { keyShelf, subjectKeyNames, supportedKey } from '../spiffe/pki/keys.ts';
import { stubRequest } from '../spiffe/pki/requests.ts';

const key = keyShelf();
let judges: Judges;
before(async () => {
  judges = await openJudges();
});

/**
 * The changes are the same in every run: two readers that were not made together differ in a case that nobody
 * thought of about once in 100,000, which is to be found by exploring with other seeds and not by a red build.
 */
const seed = 20_261_122;

/** One octet changed, removed or added anywhere: most results are junk, some are still readable. */
const changes = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'remove', 'insert'));

function changed(seed: Buffer, list: readonly [number, number, string][]): Buffer {
  return list.reduce((bytes, [position, octet, how]) => {
    const at = position % bytes.length;
    const rest = bytes.subarray(how === 'insert' ? at : at + 1);
    return Buffer.concat([bytes.subarray(0, at), ...(how === 'remove' ? [] : [Uint8Array.of(octet)]), rest]);
  }, seed);
}

/** The seeds and thousands of changed copies of them. */
function questions(kind: Question['kind'], seeds: readonly Buffer[]): Question[] {
  const lists = fc.sample(fc.array(changes, { minLength: 1, maxLength: 2 }), { numRuns: 3_000, seed });
  return [
    ...seeds,
    ...lists.map((list, index) => changed(seeds[index % seeds.length] ?? Buffer.alloc(1), list)),
  ].map((der) => ({ kind, der }));
}

async function compare(
  asked: readonly Question[],
  check: (question: Question, answer: Answer) => string | undefined,
): Promise<void> {
  const answers = await judges.parse(asked);
  assert.equal(answers.length, asked.length);
  const differences = asked.flatMap((question, index) => {
    const answer = answers[index];
    const difference = answer && check(question, answer);
    return difference === undefined ? [] : [`${difference}: ${Buffer.from(question.der).toString('hex')}`];
  });
  assert.deepEqual(differences, []);
  assert.ok(answers.some(({ ok }) => ok) && answers.some(({ ok }) => !ok));
}

/**
 * Where Go finds a key of our table, the API server may have accepted the request, so we must read that key too,
 * or say that it is not supported. Where we find a key, Go must find the same: it reads our certificate.
 */
function difference(ours: SubjectKey, answer: Answer): string | undefined {
  if (ours.kind === 'supported') {
    return answer.key === ours.type.name
      ? undefined
      : `we read ${ours.type.name}, Go ${answer.key || answer.error}`;
  }
  // Go passes over what follows inside a key, and over unused bits. We would copy that into the certificate, so to
  // us such a key is none.
  if (ours.kind === 'unreadable' && /more elements|whole number of octets/.test(ours.reason))
    return undefined;
  const shared = subjectKeyNames.some((name) => name === answer.key);
  return answer.ok && shared && ours.kind === 'unreadable'
    ? `Go reads ${answer.key}, we: ${ours.reason}`
    : undefined;
}

test('we and Go find the same keys in changed public keys', async () => {
  const seeds = subjectKeyNames.map((name) => key(name).spki);
  await compare(questions('spki', seeds), ({ der }, answer) => difference(readSubjectKey(der), answer));
});

test('we read every request that the API server can read', async () => {
  const seeds = subjectKeyNames.map((name) => stubRequest(key(name)));
  await compare(questions('csr', seeds), ({ der }, answer) => {
    const ours = readCsrKey(der);
    // Go also looks into subject, attributes and signature algorithm, which do not concern us.
    return ours.kind === 'supported' && !answer.ok ? undefined : difference(ours, answer);
  });
});

/** The extensions of a SPIFFE authority. Go looks into some others, policies for example, of which we say nothing. */
const profile = new Set([
  'basicConstraints',
  'keyUsage',
  'subjectKeyIdentifier',
  'authorityKeyIdentifier',
  'subjectAltName',
]);

test('a certificate that we would take for an authority is one that Go reads', async () => {
  const root = await makeCa();
  const below = await makeCa({ keyName: 'RSA 3072', subject: 'CN=below', issuer: root });
  const seeds = [root, below].map(({ facts }) => Buffer.from(facts.der));
  await compare(questions('certificate', seeds), ({ der }, answer) => {
    const ours = readCertificate(der);
    if (!ours.ok || ours.value.publicKey.kind !== 'supported' || answer.ok) return undefined;
    const isAuthority =
      checkAuthority(ours.value).every(({ level, ok }) => ok || level === 'should') &&
      ours.value.extensions.every(({ name }) => profile.has(name)) &&
      ours.value.uris.every((uri) => parseIssuingTrustDomain(uri.slice('spiffe://'.length)).ok);
    return isAuthority ? `we read it, Go: ${answer.error}` : undefined;
  });
});

/** Characters of trust domains; dots come often, because they are what Go is particular about. */
const trustDomains = fc
  .string({ unit: fc.constantFrom(...'abz019-_.....'), minLength: 1, maxLength: 255, size: 'max' })
  .filter((name) => parseIssuingTrustDomain(name).ok);
const segments = fc
  .string({ unit: fc.constantFrom(...'aZ09-_.'), minLength: 1, maxLength: 253, size: 'max' })
  .filter((segment) => segment !== '.' && segment !== '..');

test('Go reads a leaf with any trust domain, names and dates, and finds its key', async () => {
  const { templateFor, signer } = authorityOf(await makeCa({ keyName: 'Ed25519' }));
  const template = templateFor(svidProfile);
  const inputs = fc.sample(
    fc.record({
      subject: fc.constantFrom(...subjectKeyNames),
      trustDomain: trustDomains,
      path: fc.array(segments, { minLength: 1, maxLength: 6 }),
      notBefore: fc.integer({ min: 0, max: Date.UTC(2100, 0, 1) / 1000 }),
      serial: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    }),
    500,
  );
  const leaves = await Promise.all(
    inputs.map(async ({ subject, trustDomain, path, notBefore, serial }) => {
      const id = makeSpiffeId(trustDomain, path);
      assert.ok(id.ok);
      const notAfter = notBefore + 3600;
      const fields = {
        serial: makeSerial(() => serial),
        notBefore,
        notAfter,
        key: supportedKey(key(subject).spki),
        subjectAltName: subjectAltName({ uris: [id.value.uri], dnsNames: [] }),
      };
      const tbs = template.build(fields);
      return template.assemble(tbs, await signer.sign(tbs));
    }),
  );
  const answers = await judges.parse(leaves.map((der) => ({ kind: 'certificate', der })));
  assert.deepEqual(
    answers.map((answer) => answer.key || answer.error),
    inputs.map(({ subject }) => subject),
  );
});
