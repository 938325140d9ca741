import { clusterTrustBundles } from '../../signer/kube/resources.ts';
import { type ClusterTrustBundle, metadataFields } from '../../signer/kube/types.ts';
import { isDnsName } from '../../spiffe/dns-name.ts';
import { parseSpiffeId } from '../../spiffe/id.ts';
import { type CertificateFacts, readableCertificates } from '../../spiffe/pki/certificate.ts';
import { printable } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { allIdentities } from '../cluster/identities.ts';
import { createListed } from '../cluster/lists.ts';
import { issuedChain, requestsWith } from '../cluster/requests.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { exitCodes, usageError } from '../errors.ts';
import { fromNow, mark, type OutputOptions, outputOption, printObject, table } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { type Answer, type Holder, hasName, type WhoReport, whoHas } from '../who/report.ts';

type Options = ClusterOptions & SettingsOptions & OutputOptions;

/** `kubespiffe who`: which pods have a SPIFFE ID or a DNS name. */
export const who: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'who', {
    description:
      'Say which pods have a SPIFFE ID or a DNS name.\n\n' +
      'Lists the pods that get the name now, by the decisions of the signers, and those that still have a certificate\n' +
      'with it, by the requests in the cluster. Ends with 1 when no pod has it.',
    examples: `
    # Which pods have this SPIFFE ID?
    kubespiffe who spiffe://example.org/ns/shop/sa/web

    # Which pods may serve as this Service?
    kubespiffe who web.shop.svc`,
    options: [withSignerSettings, withCluster, outputOption()],
  })
    .argument('<name>', 'A SPIFFE ID, or a DNS name.')
    .action(async (name: string, options: Options) => {
      checkName(name);
      const now = Math.floor(terminal.now() / 1000);
      const report = await withApi({ ...options, role: identityViewer }, terminal, async (api) => {
        const world = createWorld(await readSignerSettings(api, terminal, options));
        const signers = new Set(world.signers.map(({ profile }) => profile.signerName));
        const answers = createListed(
          requestsWith<Answer>((request) => {
            const chain = issuedChain(request);
            const isIt = chain[0] && signers.has(request.spec.signerName) && hasName(chain[0], name);
            return isIt ? { request, chain } : undefined;
          }),
        );
        const roots = createListed<ClusterTrustBundle, CertificateFacts[]>({
          resource: clusterTrustBundles,
          fields: { metadata: metadataFields, spec: true },
          project: ({ spec }) =>
            signers.has(spec.signerName ?? '') ? readableCertificates(spec.trustBundle) : undefined,
        });
        await Promise.all([world.fill(api), answers.fill(api), roots.fill(api)]);
        const known = [...roots.store.values()].flat();
        return whoHas(name, allIdentities(world), [...answers.store.values()], known, now);
      });
      if (options.output) printObject(terminal, options.output, report);
      else print(terminal, report, now);
      done(report.holders.length > 0 ? exitCodes.ok : exitCodes.failed);
    });

/** @throws CliError USAGE */
function checkName(name: string): void {
  if (name.includes('://')) {
    const id = parseSpiffeId(name);
    if (id.ok) return;
    throw usageError(
      `${name} is not a SPIFFE ID: ${id.reason}`,
      'write it like spiffe://example.org/ns/shop/sa/web',
    );
  }
  if (isDnsName(name)) return;
  const hint = 'write a SPIFFE ID like spiffe://example.org/ns/shop/sa/web, or a DNS name like web.shop.svc';
  throw usageError(`${name} is neither a SPIFFE ID nor a DNS name`, hint);
}

function print(terminal: Terminal, { name, holders }: WhoReport, now: number): void {
  if (holders.length === 0) {
    terminal.out(
      `No pod gets ${name}, and no request shows a certificate with it.\n\n` +
        'Next: `kubespiffe explain pod NAMESPACE/NAME` says which name a pod gets, and why.\n',
    );
    return;
  }
  const titles = ['POD', 'NODE', 'SIGNER', 'GETS IT', 'REGISTRATION', 'CERTIFICATE ENDS', 'ROOT (SHA-256)'];
  terminal.out(`${mark(terminal, 'title', name)}\n\n`);
  terminal.out(table([titles, ...holders.map((holder) => row(holder, now))]));
  const [first] = holders;
  const others = holders.filter(({ getsIt }) => !getsIt).length;
  if (others > 0) {
    terminal.out(
      `\n${others} of ${holders.length} no longer ${others === 1 ? 'gets' : 'get'} this name and ${others === 1 ? 'has' : 'have'} it until the certificate ends or is renewed.\n`,
    );
  }
  terminal.out(`\nNext: \`kubespiffe explain pod ${first?.namespace}/${first?.pod}\` says why.\n`);
}

function row(holder: Holder, now: number): string[] {
  const { certificate, by } = holder;
  const ends = certificate
    ? fromNow(Date.parse(certificate.notAfter) / 1000, now)
    : by === 'token'
      ? '(tokens only)'
      : '(not known)';
  return [
    `${holder.namespace}/${holder.pod}`,
    holder.node || '(none)',
    holder.signer,
    holder.getsIt ? 'yes' : 'no longer',
    holder.registration ?? '-',
    ends,
    certificate?.authority.root?.slice(0, 16) ?? '-',
  ].map(printable);
}
