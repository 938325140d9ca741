/** Where certificate, key, roots and tokens come from. */
export type SourceConfig = {
  readonly kind: 'folder';
  /** Folder that kubelet keeps, with `credentials.pem` and `roots.pem`. */
  readonly credentials: string;
  /** Files with roots of other trust domains, by trust domain. */
  readonly bundles: Readonly<Record<string, readonly string[]>>;
};

/** The parts that a PEM file is made of. */
export const pemParts = ['chain', 'leaf', 'intermediates', 'key', 'roots', 'federatedRoots'] as const;
export type PemPart = (typeof pemParts)[number];

/** What a file holds. */
export type Content = { readonly kind: 'pem'; readonly parts: readonly PemPart[] };

export interface FileConfig {
  /** Name in the folder, without path. */
  readonly name: string;
  /** Permission bits. */
  readonly mode: number;
  readonly content: Content;
}

/** Which processes get the signal. */
export type SignalTarget = { readonly pidFile: string } | { readonly process: string };

/** What happens after the files have changed. */
export interface ReloadConfig {
  readonly signal: { readonly name: NodeJS.Signals; readonly target: SignalTarget } | undefined;
  /** Program and arguments. No shell reads them. */
  readonly command: readonly [string, ...string[]] | undefined;
}

/** What `kubespiffe helper` does. */
export interface HelperConfig {
  readonly source: SourceConfig;
  /** Folder of the files. */
  readonly folder: string;
  readonly files: readonly [FileConfig, ...FileConfig[]];
  readonly reload: ReloadConfig;
  /** Write the files once, and end. */
  readonly once: boolean;
}
