/** What the documentation of a command says of its arguments. */
interface Documented {
  /** How many words follow the name of the command. */
  readonly words: number;
  /** Options with a value, written as there: `--name` or `-name`, or `name` for parameters of the form name=value. */
  readonly required?: readonly string[];
  readonly optional?: readonly string[];
  /** Options without a value. */
  readonly switches?: readonly string[];
  /** Exactly one of these is given. */
  readonly oneOf?: readonly string[];
}

const provider = [
  ...['--allowed-audiences', '--attribute-condition', '--description', '--display-name'],
  ...['--disabled', '--jwk-json-path'],
];
const pool = ['--location', '--workload-identity-pool'];

/** Commands of programs that the tests do not have, by their name. */
const commands: Readonly<Record<string, Documented>> = {
  // Google Cloud SDK reference, gcloud iam workload-identity-pools and gcloud storage buckets.
  'gcloud iam workload-identity-pools create': {
    words: 1,
    required: ['--location'],
    optional: ['--description', '--disabled', '--display-name', '--session-duration'],
  },
  'gcloud iam workload-identity-pools providers create-oidc': {
    words: 1,
    required: [...pool, '--issuer-uri', '--attribute-mapping'],
    optional: provider,
  },
  'gcloud iam workload-identity-pools providers update-oidc': {
    words: 1,
    required: pool,
    optional: [...provider, '--issuer-uri', '--attribute-mapping'],
  },
  'gcloud iam workload-identity-pools create-cred-config': {
    words: 1,
    required: ['--output-file'],
    oneOf: [
      '--executable-command',
      '--credential-source-file',
      '--credential-source-url',
      '--aws',
      '--azure',
    ],
    optional: [
      ...['--executable-timeout-millis', '--executable-output-file', '--service-account'],
      '--subject-token-type',
    ],
  },
  'gcloud storage buckets add-iam-policy-binding': {
    words: 1,
    required: ['--member', '--role'],
    optional: ['--condition', '--condition-from-file'],
  },
  // Azure CLI reference, az identity.
  'az identity create': {
    words: 0,
    required: ['--name', '--resource-group'],
    optional: ['--location', '--tags'],
  },
  'az identity federated-credential create': {
    words: 0,
    required: ['--name', '--identity-name', '--resource-group', '--issuer', '--subject'],
    optional: ['--audiences'],
  },
  // AWS CLI command reference, iam, sts and s3.
  'aws iam create-open-id-connect-provider': {
    words: 0,
    required: ['--url'],
    optional: ['--client-id-list', '--thumbprint-list', '--tags'],
  },
  'aws sts assume-role-with-web-identity': {
    words: 0,
    required: ['--role-arn', '--role-session-name', '--web-identity-token'],
    optional: ['--duration-seconds', '--policy', '--policy-arns', '--provider-id', '--output'],
    switches: ['--no-sign-request'],
  },
  'aws s3 cp': { words: 2, optional: ['--content-type', '--cache-control', '--acl'] },
  // Vault documentation, "JWT/OIDC auth method (API)".
  'vault auth enable': { words: 1, optional: ['-path'] },
  'vault write auth/jwt/config': {
    words: 0,
    oneOf: ['oidc_discovery_url', 'jwks_url', 'jwt_validation_pubkeys'],
    optional: ['oidc_discovery_ca_pem', 'jwks_ca_pem', 'bound_issuer', 'jwt_supported_algs', 'default_role'],
  },
  'vault write auth/jwt/role/web': {
    words: 0,
    required: ['user_claim', 'bound_audiences'],
    optional: [
      ...['role_type', 'bound_subject', 'bound_claims', 'bound_claims_type', 'token_policies'],
      ...['token_ttl', 'token_max_ttl'],
    ],
  },
  'vault write auth/jwt/login': { words: 0, required: ['role', 'jwt'] },
  // cosign documentation, cosign attest.
  'cosign attest': {
    words: 1,
    required: ['--predicate'],
    optional: ['--type', '--key', '--identity-token'],
    switches: ['--yes'],
  },
};

/** Options of the program, which stand before the words of a command: `vault write -field=token …`. */
const general = /^-(field|format)=\S+$/;

/** What is wrong with the arguments of a call by the documentation of the program; undefined where nothing is. */
export function faultOf(program: string, args: readonly string[]): string | undefined {
  const call = [program, ...args.filter((each) => !general.test(each))];
  const name = Object.keys(commands)
    .filter((each) => call.join(' ').startsWith(`${each} `) || call.join(' ') === each)
    .sort((a, b) => b.length - a.length)[0];
  const documented = name === undefined ? undefined : commands[name];
  if (name === undefined || !documented) return `no command is documented as ${call.join(' ')}`;
  const { words, required = [], optional = [], switches = [], oneOf = [] } = documented;
  const known = [...required, ...optional, ...oneOf];
  const rest = call.slice(name.split(' ').length);
  const given = new Map<string, string>();
  const plain: string[] = [];
  for (let index = 0; index < rest.length; index += 1) {
    const word = rest[index] ?? '';
    const [, option = word, value] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
    if (known.includes(option)) given.set(option, value ?? rest[++index] ?? '');
    else if (word.startsWith('-') || value !== undefined) {
      if (!switches.includes(word)) return `${name} has no option ${option}`;
    } else plain.push(word);
  }
  const missing = required.find((each) => !given.get(each));
  if (missing) return `${name} needs ${missing}`;
  if (plain.length !== words) return `${name} takes ${words} words, and not: ${plain.join(' ')}`;
  const alternatives = oneOf.filter((each) => given.has(each));
  if (oneOf.length > 0 && alternatives.length !== 1) return `${name} needs one of ${oneOf.join(', ')}`;
  return undefined;
}
