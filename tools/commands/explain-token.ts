import { isJsonObject, type JsonObject } from '../../spiffe/json.ts';
import { parseJwt } from '../../spiffe/jwt-svid.ts';
import { printable, textOf } from '../../spiffe/pki/text.ts';
import { type ClusterOptions, withApi, withCluster } from '../api.ts';
import { readSignerSettings, type SettingsOptions, withSignerSettings } from '../cluster/signer-settings.ts';
import { createWorld, identityViewer } from '../cluster/world.ts';
import { type AddCommand, addCommand } from '../command.ts';
import { CliError, exitCodes } from '../errors.ts';
import { printSteps, printVerdict } from '../explain/steps.ts';
import { explainJwtSvid, explainServiceAccountToken, type TokenExplanation } from '../explain/token.ts';
import { mark, type OutputOptions, outputOption, printObject } from '../output.ts';
import { nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';

interface Options extends ClusterOptions, SettingsOptions, OutputOptions {
  audience?: string;
  registration?: string;
}

/** `kubespiffe explain token`: what the token endpoint makes of a token. */
export const explainToken: AddCommand = (parent, terminal, done) =>
  addCommand(parent, 'token', {
    description:
      'Explain how the token endpoint answers a ServiceAccount token, or which pods a JWT-SVID belongs to.\n\n' +
      'The token is neither printed nor sent anywhere, and its signature is not verified. Ends with 1 when the endpoint\n' +
      'would refuse it, or the JWT-SVID is not valid.',
    examples: `
    # Why does the token endpoint refuse this pod?
    kubectl exec web-0 -- cat /run/spiffe/token | kubespiffe explain token -

    # May it have a JWT-SVID for this audience?
    kubespiffe explain token token.jwt --audience https://api.example.org`,
    options: [withSignerSettings, withCluster],
  })
    .argument('<file>', 'The file with the token; - is standard input.')
    .option('--audience <audience>', 'Audience of the JWT-SVID, as it would be requested.')
    .option('--registration <name>', 'Registration that the request would name.')
    .addOption(outputOption())
    .action(async (file: string, options: Options) => {
      const parsed = parseJwt(textOf(await readInput(terminal, file)).trim());
      if (!parsed.ok) {
        const what = `${nameOfInput(file)} holds no token: ${parsed.reason}`;
        throw new CliError('TOKEN_INVALID', what, 'give a projected ServiceAccount token or a JWT-SVID');
      }
      const jwt = parsed.value;
      const isSvid = typeof jwt.claims.sub === 'string' && jwt.claims.sub.startsWith('spiffe://');
      const { audience, registration } = options;
      const wishes = { now: Math.floor(terminal.now() / 1000), audience, registration };
      const explanation = await withApi({ ...options, role: identityViewer }, terminal, async (api) => {
        const world = createWorld(await readSignerSettings(api, terminal, options));
        await world.fill(api, isSvid ? undefined : namespaceIn(jwt.claims));
        return isSvid ? explainJwtSvid(jwt, world, wishes) : explainServiceAccountToken(jwt, world, wishes);
      });
      if (options.output) printObject(terminal, options.output, explanation);
      else print(terminal, explanation, nameOfInput(file));
      done(explanation.verdict.verdict === 'issue' ? exitCodes.ok : exitCodes.failed);
    });

/** The namespace that a ServiceAccount token names. Only its pods matter. */
function namespaceIn(claims: JsonObject): string | undefined {
  const own = claims['kubernetes.io'];
  return isJsonObject(own) && typeof own.namespace === 'string' ? own.namespace : undefined;
}

function print(terminal: Terminal, { kind, steps, verdict, pods }: TokenExplanation, file: string): void {
  terminal.out(`${mark(terminal, 'title', printable(file))}: ${kind}\n`);
  printSteps(terminal, steps);
  printVerdict(terminal, verdict);
  const [pod] = pods;
  if (pod !== undefined)
    terminal.out(`\nNext: \`kubespiffe explain pod ${pod}\` says why the pod has its name.\n`);
}
