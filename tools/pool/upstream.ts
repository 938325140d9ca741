import type { Command } from 'commander';
import { answerRequest } from '../../signer/authority/answer.ts';
import type { PoolDocument } from '../../signer/authority/document.ts';
import {
  parseUpstream,
  type Upstream,
  type UpstreamPlace,
} from '../../signer/authority/upstream/upstream.ts';
import type { Transport } from '../../signer/kube/transport.ts';
import { textOf } from '../../spiffe/pki/text.ts';
import { withApi } from '../api.ts';
import { parseSeconds } from '../duration.ts';
import { poolInvalid, usageError } from '../errors.ts';
import { readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';
import { waiterFor, waitUntil } from '../wait.ts';
import { type NewAuthorityOptions, prepareInPool, requestIn } from './new-authority.ts';
import { changePool, printChange, readPool } from './pool-change.ts';

/** The options of a command that has another CA sign. */
export interface UpstreamOptions extends NewAuthorityOptions {
  upstream?: string;
  upstreamRoot?: string;
  vaultCa?: string;
  timeout: string;
  lifetime: string;
}

export function withUpstream(command: Command): Command {
  return command
    .option(
      '--upstream <ca>',
      'Have a CA signed by cert-manager:Issuer/NAME, cert-manager:ClusterIssuer/NAME or vault:https://HOST/MOUNT.',
    )
    .option(
      '--upstream-root <file>',
      'PEM file with the root of that CA. Needed where the pool does not have that root yet.',
    )
    .option(
      '--vault-ca <file>',
      'PEM file with the roots of the server certificate of Vault. (default: those of the system)',
    )
    .option(
      '--timeout <duration>',
      'How long to wait for the CA above. Run the same command again to continue.',
      '10m',
    );
}

/**
 * Makes the request for a CA in the pool, has another CA sign it, and takes the answer. Each step is in the pool, or with
 * that CA, so the command goes on where it was interrupted.
 *
 * @throws CliError
 */
export async function prepareByUpstream(
  terminal: Terminal,
  options: UpstreamOptions,
  text: string,
): Promise<void> {
  const place = parseUpstream(text);
  if (!place.ok) throw usageError(`--upstream ${JSON.stringify(text)} ${place.reason}`);
  if (options.dryRun === 'server') {
    throw usageError(
      '--dry-run with --upstream',
      'leave out one of them: another CA signs nothing for a trial',
    );
  }
  const { upstreamRoot } = options;
  const roots = upstreamRoot === undefined ? [] : [textOf(await readInput(terminal, upstreamRoot))];
  const lifetimeSeconds = parseSeconds(options.lifetime, '--lifetime');
  const document = await openRequest(terminal, options);
  const record = requestIn(document, options);
  if (!record) throw new Error('the pool has no request');
  const { trustDomain } = document;
  const certificates = await withApi(options, terminal, async (api) => {
    const upstream = await connect(place.value, api, terminal, options);
    const wanted = { id: record.id, request: record.request ?? '', trustDomain, lifetimeSeconds };
    return signed(terminal, upstream, wanted, parseSeconds(options.timeout, '--timeout'));
  });
  const change = await changePool(options, terminal, (current, { now }) => {
    const answer = { certificates, notAfter: now + lifetimeSeconds, furtherRoots: roots };
    return answerRequest(current, record.id, answer, now);
  });
  printChange(terminal, options, change);
}

/** The pool with its request, which is made if it is missing. */
async function openRequest(terminal: Terminal, options: UpstreamOptions): Promise<PoolDocument> {
  const { document } = await readPool(options, terminal);
  if (requestIn(document, options)) return document;
  const change = await prepareInPool(terminal, options, { kind: 'X509', asRequest: true, pathLength: 0 });
  printChange(terminal, options, change);
  return change.document;
}

async function connect(
  place: UpstreamPlace,
  transport: Transport,
  terminal: Terminal,
  { namespace, vaultCa }: UpstreamOptions,
): Promise<Upstream> {
  if (place.kind === 'cert-manager') {
    const { certManagerUpstream } = await import('../../signer/authority/upstream/cert-manager.ts');
    return certManagerUpstream({ transport, namespace, issuer: place.issuer });
  }
  const { VAULT_TOKEN: token, VAULT_NAMESPACE: vaultNamespace } = terminal.env;
  if (!token) throw usageError('there is no token for Vault', 'put one into VAULT_TOKEN');
  const { vaultUpstream } = await import('../../signer/authority/upstream/vault.ts');
  return vaultUpstream({
    ...{ url: place.url, login: { token }, env: terminal.env },
    ...(vaultCa !== undefined && { roots: textOf(await readInput(terminal, vaultCa)) }),
    ...(vaultNamespace && { namespace: vaultNamespace }),
  });
}

async function signed(
  terminal: Terminal,
  upstream: Upstream,
  wanted: Parameters<Upstream['sign']>[0],
  timeoutSeconds: number,
) {
  const end = terminal.now() + timeoutSeconds * 1000;
  const waitFor = waiterFor(terminal, waitUntil, upstream.name);
  for (;;) {
    const answer = await upstream.sign(wanted, AbortSignal.timeout(30_000));
    if (answer.kind === 'signed') return answer.certificates;
    const what = `${upstream.name}: ${answer.what}`;
    if (answer.kind === 'refused') throw poolInvalid(what, answer.remedy);
    if (terminal.now() >= end) {
      throw poolInvalid(what, 'run the same command again later; it continues with the same request');
    }
    await waitFor(answer.what);
  }
}
