/** Where certificate, key, roots and tokens come from. */
export type SourceConfig =
  | {
      readonly kind: 'folder';
      /** Folder that kubelet keeps, with `credentials.pem` and `roots.pem`. */
      readonly credentials: string;
      /** The trust domain of all roots in `roots.pem`. Undefined: each root is of the one whose SPIFFE ID it carries. */
      readonly trustDomain: string | undefined;
      /** Files with roots or SPIFFE bundles, by trust domain. */
      readonly bundles: Readonly<Record<string, readonly string[]>>;
      /** Gives JWT-SVIDs and the keys that verify them. */
      readonly tokenEndpoint: URL | undefined;
      /** File of a ServiceAccount token that proves the pod to the token endpoint, in place of its certificate. */
      readonly tokenFile: string | undefined;
    }
  | {
      readonly kind: 'socket';
      /** Address of a Workload API, such as `unix:///run/workload-api/socket`. */
      readonly socket: string;
      /** Chooses among several identities. Undefined: the first one. */
      readonly hint: string | undefined;
    };

/** The parts that a PEM file is made of. */
export const pemParts = ['chain', 'leaf', 'intermediates', 'key', 'roots', 'federatedRoots'] as const;
export type PemPart = (typeof pemParts)[number];

/** What a file holds. */
export type Content =
  | { readonly kind: 'pem'; readonly parts: readonly PemPart[] }
  /** PKCS#12 with key and chain. */
  | { readonly kind: 'keystore'; readonly password: Password }
  /** PKCS#12 with the roots of the own trust domain and, where wanted, of the others. */
  | { readonly kind: 'truststore'; readonly password: Password; readonly federated: boolean }
  | { readonly kind: 'jwtSvid'; readonly audience: readonly string[] }
  /** JWK set of the own trust domain. */
  | { readonly kind: 'jwks' }
  /** JWK sets of all trust domains in the form of spiffe-helper: a JSON object of base64, by trust domain. */
  | { readonly kind: 'jwtBundles' };

/** A password that `passwordOf` has returned, or the file that has one in its first line. */
export type Password = { readonly text: string } | { readonly file: string };

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

/** An HTTP server for probes. */
export interface HealthConfig {
  readonly port: number;
  readonly livePath: string;
  readonly readyPath: string;
}

/** What `kubespiffe helper` does. */
export interface HelperConfig {
  readonly source: SourceConfig;
  /** Folder of the files. */
  readonly folder: string;
  readonly files: readonly [FileConfig, ...FileConfig[]];
  readonly reload: ReloadConfig;
  readonly health: HealthConfig | undefined;
  /** Write the files once, and end. */
  readonly once: boolean;
}

/** What has a say beside the file. */
export interface ParseOptions {
  /** Takes the place of the source in the file. */
  readonly source?: SourceConfig | undefined;
  /** What SPIFFE_ENDPOINT_SOCKET says. */
  readonly defaultSocket?: string | undefined;
}
