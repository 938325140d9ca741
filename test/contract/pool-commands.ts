import { of, type PageCommands } from './page-commands.ts';

/** What happens to the pool before the commands. Time passes for the signer, not for the test. */
export type Meanwhile =
  /** There is no pool, and nothing is published. */
  | { readonly kind: 'nothing' }
  /** The pool is lost. What it published is still there. */
  | { readonly kind: 'lost' }
  /** A CA has been in the bundles for its propagation delay. */
  | { readonly kind: 'propagated'; readonly id: string }
  /** Everything that these authorities signed has expired. */
  | { readonly kind: 'expired'; readonly ids: readonly string[] };

export interface PoolCommands extends PageCommands {
  readonly meanwhile?: Meanwhile;
  /** Commands of an administrator that come first, for what others have made. */
  readonly after?: string;
}

const meanwhile = (happens: Meanwhile, commands: PageCommands): PoolCommands => ({
  ...commands,
  meanwhile: happens,
});
const nothing: Meanwhile = { kind: 'nothing' };
const after = (script: string, commands: PoolCommands): PoolCommands => ({ ...commands, after: script });
const propagated = (id: string): Meanwhile => ({ kind: 'propagated', id });
const expired = (...ids: string[]): Meanwhile => ({ kind: 'expired', ids });

const cli = of('reference/cli.md');
const company = of('guides/company-pki.md');
const ca = of('guides/ca.md');
const backup = of('operations/backup.md');

/** An offline root signs the request in `issuing.csr`. The root is a file of its own, as a company sends it. */
const sign = (request: string) => `${request} > issuing.csr
kubespiffe ca sign issuing.csr --cert root.pem --key root.key > signed.pem
openssl x509 -in signed.pem -out issuing.pem
cp root.pem company-chain.pem`;
const newRoot = 'kubespiffe ca root --trust-domain example.org --cert root.pem --key root.key';
const requestInPool = sign('kubespiffe ca csr --ca-id ca-2');

/** A CA of cert-manager. */
const tlsSecret = `${newRoot}
kubectl create namespace cert-manager
kubectl create secret tls root --namespace cert-manager --cert root.pem --key root.key`;

/** The commands read from the Deployment how long the signers let a root be published first. */
const hasty =
  'kubectl --namespace kubespiffe set env deployment/kubespiffe-signer KUBESPIFFE_TRUST_DOMAIN=example.org KUBESPIFFE_ROOT_PROPAGATION_DELAY=1s';

/** A pool of mesh-example with one CA: keys and certificates are DER, base64. */
const meshPool = `${newRoot}
der() { grep -v '^-' "$1" | tr -d '\\n'; }
printf '{"CAs":[{"ID":"1","SigningKeyPKCS8":"%s","RootCertificateDER":"%s"}]}' "$(der root.key)" "$(der root.pem)" > mesh.json
kubectl create secret generic spiffe-ca-pool --from-file pool=mesh.json`;

/** By a CA operator beside a signer, and by an administrator for the pages on operations. Each goes on where the one before ended. */
export const poolCommands: readonly PoolCommands[] = [
  meanwhile(nothing, company('With an offline root', /./)),
  company('With an offline root', /ca-1/, { block: 2 }),
  company('With an offline root', /ca-2/, { block: 1 }),
  ca('Try the next CA first', /ca-2/, { block: 1 }),
  after(requestInPool, company('With a company PKI', /ca-2: .+ -> prepared/)),

  meanwhile(nothing, ca('Create', /ca-1/)),
  meanwhile(propagated('ca-1'), company('A new root for partners who learn of it late', /ca-2-by-ca-1/)),
  meanwhile(propagated('ca-2'), company('A new root for partners who learn of it late', /./, { block: 1 })),
  meanwhile(
    expired('ca-1', 'ca-2-by-ca-1'),
    company('A new root for partners who learn of it late', /ca-1/, { block: 2 }),
  ),

  meanwhile(nothing, cli('kubespiffe ca create', /ca-1/)),
  cli('kubespiffe ca create', /dns-1/, { block: 1 }),
  cli('kubespiffe ca create', /^$/, { block: 2 }),
  cli('kubespiffe ca show', /ca-1/),
  cli('kubespiffe ca doctor', /./),
  cli('kubespiffe ca add-jwt-key', /jwt-rs256-2/),
  cli('kubespiffe ca prepare', /ca-2/),
  cli('kubespiffe ca preview', /ca-2/),
  cli('kubespiffe ca trust', /ca-2/),
  cli('kubespiffe ca cross-sign', /ca-2-by-ca-1/),
  cli('kubespiffe ca status', /ca-2/),
  cli('kubespiffe bundle show', /^$/),
  meanwhile(propagated('ca-2'), cli('kubespiffe ca activate', /ca-2/)),
  cli('kubespiffe ca taint', /ca-1/),
  cli('kubespiffe ca untaint', /ca-1/),
  cli('kubespiffe ca who', /ca-1/),
  cli('kubespiffe ca evict', /0 of 0 pods evicted/),
  meanwhile(expired('ca-1'), cli('kubespiffe ca retire', /ca-1/)),
  cli('kubespiffe ca remove', /ca-1/),
  cli('kubespiffe ca rotate', /./),
  cli('kubespiffe ca restore', /restored/),
  cli('kubespiffe ca root', /./),
  cli('kubespiffe ca csr', /./),
  cli('kubespiffe ca sign', /./),

  after(tlsSecret, meanwhile(nothing, cli('kubespiffe ca import', /authority root: active/))),
  after(
    `${newRoot}\n${sign('kubespiffe ca csr --key issuing.key --trust-domain example.org')}`,
    meanwhile(nothing, cli('kubespiffe ca import', /authority issuing-1: active/, { block: 1 })),
  ),
  after(requestInPool, cli('kubespiffe ca import', /ca-2/, { block: 2 })),
  after(meshPool, meanwhile(nothing, cli('kubespiffe ca import', /authority 1: active/, { block: 3 }))),
  after(hasty, of('coming-from/csi-driver-spiffe.md')('Migrate without downtime', /-> active/, { block: 2 })),

  meanwhile(
    { kind: 'lost' },
    backup(
      'Find out what is wrong',
      /^Name: +kubespiffe-signer[\s\S]+there is no Secret kubespiffe\/kubespiffe-pool/m,
      { code: 0 },
    ),
  ),
  backup('Without a backup', /ca-2/),
];
