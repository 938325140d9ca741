import type { Block, Page } from '../docs/markdown.ts';
import { blocksBelow } from '../docs/markdown.ts';

/** Commands of a page that run as they stand there, on a cluster with a signer and the namespace `shop`. */
export interface PageCommands {
  readonly page: string;
  readonly heading: string;
  /** Which block of commands below the heading; the first one where it is not given. */
  readonly block?: number;
  /** What they print, on either output. */
  readonly prints: RegExp;
  /** Exit code of the last command. */
  readonly code?: number;
}

/** Each goes on where the one before ended. */
export const pageCommands: readonly PageCommands[] = [
  {
    page: 'docs/guides/registrations.md',
    heading: 'A team names its own pods',
    prints: /checkout[\s\S]+Spec:/,
  },
  {
    page: 'docs/guides/registrations.md',
    heading: 'Before and after a change',
    prints: /spiffe:\/\/example\.org\/ns\/shop\/app\/web[\s\S]+^shop\/web-0 /m,
  },
  {
    page: 'docs/guides/federation.md',
    heading: 'Look at it',
    prints: /partner\.example[\s\S]+partner\.example/,
    code: 1,
  },
  { page: 'docs/guides/ca.md', heading: 'Create', block: 1, prints: /^$/ },
  { page: 'docs/guides/ca.md', heading: 'Rotate', prints: /active/ },
  { page: 'docs/guides/injection.md', heading: 'Certificate and roots by a label', prints: /shop labeled/ },
  {
    page: 'docs/coming-from/spire.md',
    heading: 'Two trust domains',
    block: 1,
    prints: /^shop +old +csi\.spiffe\.io$/m,
  },
  {
    page: 'docs/coming-from/cert-manager-csi-driver.md',
    heading: 'Migrate without downtime',
    prints: /^shop +older +csi\.cert-manager\.io$/m,
  },
  {
    page: 'docs/coming-from/csi-driver-spiffe.md',
    heading: 'Migrate without downtime',
    block: 1,
    prints: /^shop +oldest +spiffe\.csi\.cert-manager\.io$/m,
  },
  { page: 'docs/operations/alerts.md', heading: 'First look', prints: /Trust domain[\s\S]+problem/ },
  { page: 'docs/operations/checklist.md', heading: 'Checklist', prints: /^problem \S+ /m },
  { page: 'docs/reference/trust-bundles.md', heading: 'Labels', prints: /^sha256-[0-9a-f]{40}$/m },
  { page: 'docs/reference/trust-bundles.md', heading: 'As a ConfigMap', prints: /shop labeled/ },
  {
    page: 'docs/reference/trust-bundles.md',
    heading: 'As a ConfigMap',
    block: 1,
    prints: /No resources found/,
  },
  {
    page: 'docs/reference/outcomes.md',
    heading: 'CreatedUnguarded',
    block: 1,
    prints: /^podcertificaterequest\S* "\S+" (force )?deleted/m,
  },
  { page: 'docs/guides/federation.md', heading: 'End the trust', prints: /"partner" deleted/ },
];

export const isShell = ({ language }: Block) => language === 'sh' || language === 'bash';

export function commandsOf(page: Page, { heading, block = 0 }: PageCommands): string | undefined {
  return blocksBelow(page, heading).filter(isShell)[block]?.code;
}
