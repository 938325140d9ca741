import { poolKind } from '../../signer/authority/document.ts';
import { compilePool, timeProblem } from '../../signer/authority/pool.ts';
import { poolJsonIn } from '../../signer/authority/pool-secret.ts';
import { readPoolDocument } from '../../signer/authority/read-document.ts';
import type { ClusterTrustBundle, PodCertificateRequest, Secret } from '../../signer/kube/types.ts';
import { isJsonObject } from '../../spiffe/json.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { CliError } from '../errors.ts';
import { authoritySections } from './certificates.ts';
import { inspectPcr } from './pcr.ts';
import { type InspectContext, inspectPem, knownForms } from './pem.ts';
import { finding, type Inspection } from './report.ts';
import { inspectSpiffeBundle } from './spiffe-bundle.ts';

/** Inspects an object that came as JSON or YAML, by its kind or by what it holds. @throws CliError */
export function inspectObject(value: unknown, context: InspectContext): Inspection {
  if (!isJsonObject(value))
    throw new CliError('USAGE', 'the text is JSON or YAML, but no object', knownForms);
  const { kind, metadata, spec } = value;
  if (kind === 'PodCertificateRequest' && isJsonObject(metadata) && isJsonObject(spec)) {
    return inspectPcr(value as unknown as PodCertificateRequest, context);
  }
  if (kind === 'ClusterTrustBundle' && isJsonObject(metadata) && isJsonObject(spec)) {
    return inspectTrustBundle(value as unknown as ClusterTrustBundle, context);
  }
  if (kind === 'Secret' && isJsonObject(metadata)) return inspectSecret(value as unknown as Secret, context);
  if (kind === poolKind) return inspectPool(JSON.stringify(value), context);
  if (Array.isArray(value.keys)) return inspectSpiffeBundle(value, context);
  const what = typeof kind === 'string' ? `an object of kind ${kind}` : 'an object of no known kind';
  throw new CliError('USAGE', `this is ${what}`, knownForms);
}

function inspectTrustBundle(bundle: ClusterTrustBundle, context: InspectContext): Inspection {
  const { name, labels } = bundle.metadata;
  const { signerName, trustBundle } = bundle.spec;
  const pairs = Object.entries(labels ?? {}).map((pair) => pair.join('='));
  const prefix = signerName === undefined ? undefined : `${signerName.replaceAll('/', ':')}:`;
  const isWellNamed = prefix === undefined ? !name.includes(':') : name.startsWith(prefix) && name !== prefix;
  const demand = 'the name begins with the signer, or has no colon without one';
  const problem = !isWellNamed && `the name does not fit ${prefix ?? 'a bundle without a signer'}`;
  const head = {
    title: 'ClusterTrustBundle',
    facts: {
      Name: name,
      Signer: signerName ?? '(none)',
      ...(labels && { Labels: pairs.join(', ') }),
    },
    findings: [finding('must', 'KEP-3257', demand, problem)],
  };
  return { kind: 'ClusterTrustBundle', sections: [head, ...inspectPem(trustBundle, context).sections] };
}

function inspectSecret(secret: Secret, context: InspectContext): Inspection {
  const pool = poolJsonIn(secret);
  if (pool) return inspectPool(pool, context);
  const text = (key: string) => textOf(Buffer.from(secret.data?.[key] ?? '', 'base64'));
  if (text('tls.crt') !== '') {
    const inspection = inspectPem(`${text('tls.key')}\n${text('tls.crt')}`, context);
    return { ...inspection, kind: `Secret of a ${inspection.kind}` };
  }
  throw new CliError('USAGE', 'the Secret holds neither a pool nor a certificate', knownForms);
}

function inspectPool(json: string, context: InspectContext): Inspection {
  const read = readPoolDocument(json);
  const compiled = read.ok
    ? compilePool(read.document, context.trustDomain ?? read.document.trustDomain)
    : read;
  const problem = compiled.ok ? timeProblem(compiled.pool, context.now) : compiled.problem;
  const head = {
    title: 'Pool',
    facts: read.ok
      ? { 'Trust domain': read.document.trustDomain ?? 'none', Sequence: String(read.document.sequence) }
      : { State: 'unreadable' },
    findings: [finding('must', 'docs/reference/pool.md', 'the pool is sound', problem?.message)],
  };
  if (!compiled.ok) return { kind: 'pool', sections: [head] };
  const titleOf = ({ id, state, tainted }: { id: string; state: string; tainted: boolean }) =>
    `Authority ${id} (${state}${tainted ? ', tainted' : ''})`;
  const sections = compiled.pool.authorities.flatMap((each) => {
    const chain = [...each.intermediates, each.root];
    return authoritySections(chain, { ...context, trustDomain: undefined }).map((section) => ({
      ...section,
      title: `${titleOf(each)}: ${section.title}`,
      // Only the root of an authority signs itself.
      findings: section.findings.filter((one) => one.message !== 'it is not self-signed'),
    }));
  });
  const jwtSections = compiled.pool.jwt.map((each) => ({
    title: `${titleOf(each)}: key for ${each.algorithm} tokens`,
    facts: { Key: each.keyType, 'Key ID': each.kid },
    findings: [],
  }));
  return { kind: 'pool', sections: [head, ...sections, ...jwtSections] };
}
