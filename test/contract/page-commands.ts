import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startChild, waitFor } from '../cluster/process.ts';
import { type Block, blocksBelow, readPage } from '../docs/markdown.ts';
import { run } from '../tools/run.ts';

/** Commands of a page that run as they stand there. */
export interface PageCommands {
  readonly page: string;
  readonly heading: string;
  /** What they print, on either output. */
  readonly prints: RegExp;
  /** Which block of commands below the heading; the first one where it is not given. */
  readonly block?: number;
  /** Exit code of the last command. Where it is not given, each command must end with 0. */
  readonly code?: number;
}

/** The commands of one page. */
export const of =
  (page: string) =>
  (heading: string, prints: RegExp, more: Pick<PageCommands, 'block' | 'code'> = {}): PageCommands => ({
    page: `docs/${page}`,
    heading,
    prints,
    ...more,
  });

const cli = of('reference/cli.md');
const federation = of('guides/federation.md');
const registrations = of('guides/registrations.md');
const roots = of('reference/trust-bundles.md');
const unguarded = of('reference/outcomes.md');

/**
 * On a cluster with a signer, without nodes, and with the namespace `shop`. Each goes on where the one before ended.
 */
export const clusterCommands: readonly PageCommands[] = [
  registrations('A team names its own pods', /checkout[\s\S]+Spec:/),
  registrations(
    'Before and after a change',
    /spiffe:\/\/example\.org\/ns\/shop\/app\/web[\s\S]+^shop\/web-0 /m,
  ),
  cli('The `kubespiffe` command', /ca-operators created/, { block: 1 }),
  cli('kubespiffe status', /^Trust domain +example\.org/m),
  cli('kubespiffe status', /^Trust domain +example\.org/m, { block: 1 }),
  cli('kubespiffe ui', /^http:\/\/127\.0\.0\.1:\d+\//m),
  cli('kubespiffe doctor', /"result": "problem"/, { code: 0 }),
  cli('kubespiffe doctor', /doctors created[\s\S]+doctors created/, { block: 1 }),
  cli('kubespiffe migrate spire', /^clusterworkloadregistration\S* created$/m),
  cli('kubespiffe federation list', /partner\.example/, { code: 1 }),
  cli('kubespiffe federation show', /partner\.example/, { code: 1 }),
  cli('kubespiffe federation diff', /partner/),
  cli('kubespiffe federation invite', /https:\/\/bundle\.example\.org\/bundle/),
  cli('kubespiffe inspect pcr', /request-viewers created/),
  cli('kubespiffe inspect pcr', /req-462q4[\s\S]+SPIFFE ID/, { block: 1 }),
  cli('kubespiffe who', /^shop\/web-2 [\s\S]+No pod gets web\.shop\.svc/m, { code: 1 }),
  cli('kubespiffe who', /viewers created[\s\S]+viewers created/, { block: 1 }),
  cli('kubespiffe explain pod', /spiffe:\/\/example\.org\/ns\/shop\/app\/web[\s\S]+service-dns/, { code: 1 }),
  // The tests before it leave a pod that was denied, which the first command ends with 1 for.
  cli('kubespiffe explain denial', /No request is denied/, { code: 0 }),
  cli('kubespiffe registration lint', / 0 errors/),
  cli('kubespiffe registration what-if', /web/),
  cli('kubespiffe completion', /^$/),
  federation('Let others fetch your bundle', /kind: FederatedTrustDomain/),
  federation('Look at it', /partner\.example[\s\S]+partner\.example/, { code: 1 }),
  of('guides/ca.md')('Create', /^$/, { block: 1 }),
  of('guides/ca.md')('Rotate', /active/),
  of('guides/postgresql.md')(
    'PostgreSQL: client certificates with a SPIFFE ID',
    /^pod\/postgresql created$/m,
  ),
  of('guides/injection.md')('Certificate and roots by a label', /shop labeled/),
  of('guides/x509-without-pod-certificates.md')('Enable it', /shop labeled/),
  of('coming-from/spire.md')('Two trust domains', /^clusterworkloadregistration\S* (unchanged|configured)$/m),
  of('coming-from/spire.md')('Two trust domains', /^shop +old +csi\.spiffe\.io$/m, { block: 1 }),
  of('coming-from/cert-manager-csi-driver.md')(
    'Migrate without downtime',
    /^shop +older +csi\.cert-manager\.io$/m,
  ),
  of('coming-from/csi-driver-spiffe.md')(
    'Migrate without downtime',
    /^shop +oldest +spiffe\.csi\.cert-manager\.io$/m,
    { block: 1 },
  ),
  of('operations/alerts.md')('Install', /SUCCESS: \d+ rules found/),
  of('operations/alerts.md')('First look', /Trust domain[\s\S]+problem/, { code: 0 }),
  of('operations/checklist.md')('Checklist', /^problem \S+ /m, { code: 0 }),
  of('operations/traces.md')('What is recorded', /^[0-9a-f]{32}$/m),
  roots('Labels', /^sha256-[0-9a-f]{40}$/m),
  roots('As a ConfigMap', /shop (not )?labeled/),
  roots('As a ConfigMap', /No resources found/, { block: 1 }),
  unguarded('CreatedUnguarded', /"req-462q4" (force )?deleted/),
  unguarded('CreatedUnguarded', /^podcertificaterequest\S* "\S+" (force )?deleted/m, { block: 1 }),
  federation('Two clusters', /^$/),
  federation('Two clusters', /created/, { block: 1, code: 1 }),
];

export const isShell = ({ language }: Block) => language === 'sh' || language === 'bash';

/** Where commands run. */
interface Place {
  readonly env: Record<string, string>;
  readonly cwd: string;
  /** Puts paths of this machine in the place of those in a pod. */
  readonly here?: (code: string) => string;
}

/** A block that runs longer has failed. */
const limitSeconds = '90';

/**
 * Runs a block of a page as it stands. One that stays (`sh stays`) is ended when it has printed what it should.
 *
 * @returns its output.
 */
export async function runCommands(
  { page, heading, block = 0, prints, code: expected }: PageCommands,
  { here = (code) => code, ...at }: Place,
): Promise<string> {
  const shown = blocksBelow(await readPage(page), heading).filter(isShell)[block];
  assert.ok(shown, 'there is no such block');
  const code = here(shown.code);
  if (shown.info === 'stays') return staysUntil(prints, code, at);
  const flags = expected === undefined ? '-ec' : '-c';
  const shell = shown.language === 'bash' ? 'bash' : 'sh';
  const ran = await run([limitSeconds, shell, flags, code], { ...at, file: 'timeout' });
  assert.match(ran.stdout + ran.stderr, prints);
  assert.equal(ran.code, expected ?? 0, ran.stderr);
  return ran.stdout;
}

async function staysUntil(prints: RegExp, command: string, { env, cwd }: Place): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'kubespiffe-stays-'));
  const logFile = join(folder, 'log');
  const child = startChild('page', ['sh', '-c', `exec ${command}`], {
    ...{ logFile, cwd, env: { ...process.env, ...env } },
  });
  try {
    await waitFor(`${prints}`, () => prints.test(child.lastLines(200)), { needs: [child] });
    return child.lastLines(200);
  } finally {
    await child.stop();
    rmSync(folder, { recursive: true });
  }
}
