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
  const file = `${trustDomain}.pem`;
  const hasId = profile === 'https_spiffe' && endpointId !== undefined;
  const roots = `# The roots of ${trustDomain}, which verify its endpoint the first time.
cat > ${file} <<'END'
${bootstrapBundle?.trimEnd()}
END

`;
  const idOptions = ` \\
  -endpointSpiffeID ${endpointId} \\
  -trustDomainBundleFormat pem -trustDomainBundlePath ${file}`;
  const idProfile = `"https_spiffe" {
#       endpoint_spiffe_id = "${endpointId}"
#     }`;
  const setBundle = `# and once: spire-server bundle set -id spiffe://${trustDomain} -format pem -path ${file}\n`;
  const start = bootstrapBundle === undefined ? '' : roots;
  return `${start}# While the server runs:
spire-server federation create \\
  -trustDomain ${trustDomain} \\
  -bundleEndpointURL ${shellWord(url)} \\
  -bundleEndpointProfile ${profile}${hasId ? idOptions : ''}

# Or in the section server of its configuration:
# federation {
#   federates_with "${trustDomain}" {
#     bundle_endpoint_url = "${url}"
#     bundle_endpoint_profile ${hasId ? idProfile : '"https_web" {}'}
#   }
# }
${hasId ? setBundle : ''}`;
}

/** A word of a shell. URLs have no control characters. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
