import type { EndpointTrust } from './resource-for.ts';

/**
 * What the operator of a SPIRE server needs: the section for its configuration, and the command that does the same while it
 * runs. The bundle of https_spiffe is written by a here-document first. Pure.
 */
export function spireInvitation({
  trustDomain,
  url,
  profile,
  endpointId,
  bootstrapBundle,
}: EndpointTrust): string {
  const hasId = profile === 'https_spiffe' && endpointId !== undefined;
  const file = `${trustDomain}.pem`;
  return [
    ...(bootstrapBundle === undefined
      ? []
      : [
          `# The roots of ${trustDomain}, which verify its endpoint the first time.`,
          `cat > ${file} <<'END'`,
          bootstrapBundle.trimEnd(),
          'END',
          '',
        ]),
    '# While the server runs:',
    'spire-server federation create \\',
    `  -trustDomain ${trustDomain} \\`,
    `  -bundleEndpointURL ${shellWord(url)} \\`,
    `  -bundleEndpointProfile ${profile}${hasId ? ' \\' : ''}`,
    ...(hasId
      ? [
          `  -endpointSpiffeID ${endpointId} \\`,
          `  -trustDomainBundleFormat pem -trustDomainBundlePath ${file}`,
        ]
      : []),
    '',
    '# Or in the section server of its configuration:',
    ...[
      'federation {',
      `  federates_with "${trustDomain}" {`,
      `    bundle_endpoint_url = "${url}"`,
      ...(hasId
        ? [
            '    bundle_endpoint_profile "https_spiffe" {',
            `      endpoint_spiffe_id = "${endpointId}"`,
            '    }',
          ]
        : [`    bundle_endpoint_profile "https_web" {}`]),
      '  }',
      '}',
    ].map((line) => `# ${line}`),
    ...(hasId
      ? [`# and once: spire-server bundle set -id spiffe://${trustDomain} -format pem -path ${file}`]
      : []),
    '',
  ].join('\n');
}

/** A word of a shell. URLs have no control characters. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
