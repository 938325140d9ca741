import { neededPermissions } from '../../../signer/permissions.ts';
import { type SignerProfile, settingsOf } from '../../../signer/signers/profile.ts';
import { allProfiles } from '../../../signer/signers/profiles.ts';
import { bundleName } from '../../../signer/trust/bundle.ts';
import { readableCertificates } from '../../../spiffe/pki/certificate.ts';
import { createWorld } from '../../cluster/world.ts';
import { CliError } from '../../errors.ts';
import { span } from '../../output.ts';
import { reportOf } from '../../pool/pool-report.ts';
import { type Finding, type Findings, ok, orElse, problem, warning } from '../check.ts';
import type { Facts } from '../facts.ts';

const soonSeconds = 30 * 86_400;

export async function settings(facts: Facts): Promise<Findings> {
  try {
    const { config, from } = await facts.settings();
    const signers = (await enabledSigners(facts)).map(({ signerName }) => signerName);
    return ok(from, `trust domain ${config.trustDomain}; signers ${signers.join(', ')}`);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return problem('the settings of the signer', error.message, error.hint ?? 'correct them');
  }
}

/** @throws what reading the settings throws. */
export async function enabledSigners(facts: Facts): Promise<SignerProfile[]> {
  const { config } = await facts.settings();
  return allProfiles.filter((profile) => settingsOf(config, profile).enabled);
}

export async function permissions(facts: Facts): Promise<Findings> {
  const settings = await facts.settings();
  const signers = createWorld(settings).signers.map(({ profile, followed }) => ({
    profile,
    facts: followed,
  }));
  const lacksBundles = (await facts.servedIn('clustertrustbundles')).length === 0;
  const rights = neededPermissions(settings.config, signers, lacksBundles);
  const { namespace } = settings.config;
  const account = await facts.serviceAccount();
  const user = `system:serviceaccount:${namespace}:${account}`;
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  const allowed = await Promise.all(rights.map((right) => facts.allows(user, groups, right)));
  const lookedAt = `ServiceAccount ${namespace}/${account}`;
  const missing = rights.filter((_, i) => !allowed[i]);
  const findings = missing.map(({ verb, resource, subresource, name, namespace, grantedBy }) => {
    const object = `${resource}${subresource ? `/${subresource}` : ''}${name ? ` ${name}` : ''}`;
    const found = `may not ${verb} ${object}${namespace ? ` in namespace ${namespace}` : ''}`;
    return problem(lookedAt, found, `apply the RBAC of the manifests again: ${grantedBy} grants it`);
  });
  return orElse(findings, ok(lookedAt, `has all ${rights.length} rights that these settings need`));
}

/** The pool itself, for those who may read the keys of the CA. */
export async function pools(facts: Facts): Promise<Findings> {
  const { config } = await facts.settings();
  const now = facts.now();
  const seen = new Map(
    (await enabledSigners(facts)).map((profile) => {
      const { pool, trustDomain } = settingsOf(config, profile);
      return [`${pool.namespace}/${pool.name}`, { pool, trustDomain }] as const;
    }),
  );
  const findings = await Promise.all(
    [...seen].map(async ([title, { pool, trustDomain }]): Promise<Findings> => {
      const lookedAt = `Secret ${title}`;
      const secret = await facts.secret(pool);
      if (!secret) {
        const remedy =
          'put a copy back with `kubespiffe ca restore`, or make a first one with `kubespiffe ca create`';
        return problem(lookedAt, 'does not exist', remedy);
      }
      const report = reportOf(secret, { ...pool, ...(trustDomain !== undefined && { trustDomain }) }, now);
      const signing = report.authorities.filter(({ signs }) => signs).map(({ id }) => id);
      return orElse(
        report.problems.map(({ field, what, remedy }) => problem(lookedAt, `${field}: ${what}`, remedy)),
        ok(lookedAt, `can sign: ${signing.join(', ')}`),
      );
    }),
  );
  return findings.flat();
}

/** The public part of the pool: its roots. */
export async function roots(facts: Facts): Promise<Findings> {
  const { config } = await facts.settings();
  const bundles = await facts.bundles();
  const now = facts.now();
  return (await enabledSigners(facts)).map((profile): Finding => {
    const name = bundleName(profile.signerName, settingsOf(config, profile).bundleSuffix);
    const lookedAt = `ClusterTrustBundle ${name}`;
    const bundle = bundles.find(({ metadata }) => metadata.name === name);
    if (!bundle) {
      const remedy = 'the signer publishes it when it has a pool and its rights: see its logs';
      return problem(lookedAt, 'does not exist', remedy);
    }
    const ends = readableCertificates(bundle.spec.trustBundle).map(({ notAfter }) => notAfter);
    const last = Math.max(0, ...ends);
    const next = 'add the next CA: docs/reference/pool.md#the-next-ca';
    if (last <= now) return problem(lookedAt, 'all its roots have expired', next);
    if (last <= now + soonSeconds)
      return warning(lookedAt, `its last root expires in ${span(last - now)}`, next);
    const which = ends.length === 1 ? '1 root' : `${ends.length} roots, the last one`;
    return ok(lookedAt, `${which} valid for ${span(last - now)}`);
  });
}
