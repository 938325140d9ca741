import { of, type PageCommands } from '../contract/page-commands.ts';

/** Commands of a page that need nothing but programs, and the calls that they lead to. */
export interface StandInCommands extends PageCommands {
  /** The words of each call in order, as far as they matter here; none for `make`, which runs itself. */
  readonly calls?: readonly RegExp[];
}

const calling = (commands: PageCommands, ...calls: RegExp[]): StandInCommands => ({ ...commands, calls });
const google = of('guides/google-cloud.md');
const vault = of('guides/vault.md');

/**
 * By stand-ins for programs of others, which know the documented arguments, and by `make --dry-run`, which knows the targets.
 */
export const standInCommands: readonly StandInCommands[] = [
  calling(
    google('Once per project: pool and provider', /^$/),
    /pools create pods/,
    /create-oidc kubespiffe .*assertion\.sub\.startsWith\("spiffe:\/\/example\.org\/ns\/"\)/,
  ),
  calling(
    google('Once per application: the grant', /^$/),
    /--member=principal:\/\/\S+\/subject\/spiffe:\/\/example\.org\/ns\/shop\/sa\/web$/,
  ),
  calling(
    google('In the pod', /^$/),
    /--executable-command=\/opt\/kubespiffe\/google-token https:\/\/iam\.googleapis\.com\/projects\/\d+\/\S+ /,
  ),
  calling(
    google('Limits and errors', /^$/),
    /update-oidc kubespiffe .*extract\("spiffe:\/\/example\.org\/\{id\}"\)$/,
  ),
  calling(
    of('guides/azure.md')('Once per application: the federated credential', /^$/),
    /identity create/,
    /--subject spiffe:\/\/example\.org\/ns\/shop\/sa\/web --audiences api:\/\/AzureADTokenExchange$/,
  ),
  calling(
    of('guides/aws.md')('Once per account: the provider', /^$/),
    /--client-id-list sts\.amazonaws\.com$/,
  ),
  calling(vault('Once: the auth method', /^$/), /auth enable jwt/, /oidc_discovery_url=/),
  calling(
    vault('Once: the auth method', /^$/, { block: 1 }),
    /auth enable jwt/,
    /jwks_url=\S+ jwks_ca_pem=@/,
  ),
  calling(vault('Once per application: the role', /^$/), /bound_audiences=https:\/\/vault\.example\.com /),
  {
    page: 'README.md',
    heading: 'The first minute',
    block: 1,
    prints: /demo\.ts[\s\S]+demo-federation\.ts[\s\S]+test\.ts cluster/,
  },
  of('development.md')(
    'The first ten minutes',
    /test\.ts unit[\s\S]+tsc --noEmit[\s\S]+bench\.ts[\s\S]+site\.ts/,
  ),
];
