import { webTrust } from '../../client/bundle-endpoint.ts';
import { getJwtSvid } from '../../client/jwt-svid.ts';
import { checkJwtSvid } from '../../spiffe/jwt-clauses.ts';
import { type ParsedJwt, parseJwt } from '../../spiffe/jwt-svid.ts';
import { verifyJwtSvid } from '../../spiffe/jwt-verify.ts';
import { keyTypes } from '../../spiffe/pki/algorithms.ts';
import { printable, textOf } from '../../spiffe/pki/text.ts';
import { rfc3339 } from '../../spiffe/pki/time.ts';
import { parseTrustDomain } from '../../spiffe/trust-domain.ts';
import { readTrustMaterial } from '../bundle/formats.ts';
import { rootsFrom, warnOfIgnored } from '../bundle/inputs.ts';
import { type AddCommand, addCommand, choice } from '../command.ts';
import { endpointUrl } from '../endpoint-url.ts';
import { CliError, usageError } from '../errors.ts';
import { type Inspection, printInspection } from '../inspect/report.ts';
import { fromNow, mark, outputOption, printObject } from '../output.ts';
import { nameOfInput, readInput } from '../read-input.ts';
import type { Terminal } from '../terminal.ts';
import { getX509Svid, type X509SvidOptions } from './token-x509.ts';

interface TokenOptions extends X509SvidOptions {
  endpoint?: string;
  certificate?: string;
  x509?: string;
  decode?: boolean;
  verify?: boolean;
  bundle?: string;
  audience?: string;
  trustDomain?: string;
}

/** `kubespiffe token`: get one, what it says, and whether it is valid. */
export const token: AddCommand = (parent, terminal) =>
  addCommand(parent, 'token', {
    description:
      'Get a JWT-SVID (--endpoint), verify one (--verify), or show what a token contains (--decode).\n\n' +
      'With --endpoint, the token in the file is a projected ServiceAccount token, and the JWT-SVID is printed; with\n' +
      "--certificate, the pod's certificate is used instead of a token, if the endpoint accepts it. With --x509 it gets\n" +
      'a certificate instead: the key is made here, and is written to the folder only.\n' +
      'Tokens are read from a file or from standard input, so that they do not appear in process lists. --decode and\n' +
      '--verify never print a signature. Ends with 1 when the token is refused or not valid.',
    examples: `
    # Get one, as a pod does
    kubespiffe token /run/spiffe/token --endpoint https://kubespiffe-tokens.kubespiffe.svc/token \\
      --roots /run/spiffe/roots.pem --audience https://api.example.org > token.jwt

    # The same with the certificate of the pod instead of a token
    kubespiffe token --certificate /run/spiffe/credentials.pem --roots /run/spiffe/roots.pem \\
      --endpoint https://kubespiffe-tokens.kubespiffe.svc/jwt-svid --audience https://api.example.org

    # Get a certificate, where there are no Pod Certificates
    kubespiffe token /run/spiffe/token --x509 /run/svid --roots /run/spiffe/roots.pem \\
      --endpoint https://kubespiffe-tokens.kubespiffe.svc/x509-svid

    # What is in it, and which clauses of the JWT-SVID standard it violates
    kubespiffe token --decode token.jwt

    # Whether it is valid for an audience
    kubespiffe bundle fetch https://spiffe.example.org/bundle --trust-domain example.org > bundle.json
    kubespiffe token --verify token.jwt --bundle bundle.json --trust-domain example.org \\
      --audience https://api.example.org`,
  })
    .argument('[file]', 'The file with the token; - is standard input.', '-')
    .option('--endpoint <url>', 'Exchange a ServiceAccount token for a JWT-SVID at this token endpoint.')
    .option(
      '--certificate <file>',
      'With --endpoint: credential bundle (key and chain, PEM) in place of a token.',
    )
    .option('--roots <file>', 'With --endpoint: PEM roots to trust instead of those of this machine.')
    .option(
      '--x509 <folder>',
      'With --endpoint: get an X509-SVID, and write key, chain and roots into this folder.',
    )
    .addOption(
      choice('--key-type <type>', 'With --x509: type of the key.', Object.keys(keyTypes), 'ecdsa-p256'),
    )
    .option('--decode', 'Say what it holds; nothing is verified.')
    .option('--verify', 'Verify it.')
    .option('--bundle <file>', 'With --verify: the SPIFFE bundle or JWK set with the keys.')
    .option('--audience <audience>', 'With --endpoint and --verify: who receives the token.')
    .option('--trust-domain <name>', 'With --verify: the trust domain that the bundle is of.')
    .addOption(outputOption())
    .action(async (file: string, options: TokenOptions) => {
      const { endpoint, decode: isDecode, verify: isVerify } = options;
      const wishes = [endpoint, isDecode, isVerify].filter(Boolean).length;
      if (wishes !== 1) {
        const what =
          wishes === 0 ? 'what to do with the token is not said' : 'more than one thing to do is said';
        throw usageError(what, 'give one of --endpoint, --decode and --verify');
      }
      if (endpoint !== undefined) return get(terminal, file, endpoint, options);
      for (const name of ['certificate', 'x509'] as const) {
        if (options[name] !== undefined) throw usageError(`--${name} is for --endpoint`, 'leave it out');
      }
      const text = await readToken(terminal, file);
      if (isDecode) decode(terminal, text, file, options);
      else await verify(terminal, text, options);
    });

async function readToken(terminal: Terminal, file: string): Promise<string> {
  return textOf(await readInput(terminal, file)).trim();
}

/** What is not a token is not sent: it may be another file with a secret in it. */
async function readSubjectToken(terminal: Terminal, file: string): Promise<string> {
  const text = await readToken(terminal, file);
  if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return text;
  const hint = 'give the file of a projected serviceAccountToken volume';
  throw usageError(`${nameOfInput(file)} holds no token`, hint);
}

async function get(terminal: Terminal, file: string, endpoint: string, options: TokenOptions): Promise<void> {
  const { audience, roots, certificate, x509: folder } = options;
  if (folder !== undefined) {
    if (certificate !== undefined) {
      throw usageError(
        'both --x509 and --certificate are given',
        'leave out --certificate: a certificate is issued for a ServiceAccount token only',
      );
    }
    if (audience !== undefined) {
      const hint = 'leave out --audience: a certificate has no audience';
      throw usageError('both --x509 and --audience are given', hint);
    }
    return getX509Svid(terminal, await readSubjectToken(terminal, file), endpoint, folder, options);
  }
  if (audience === undefined) {
    throw usageError(
      '--endpoint needs --audience',
      'give the service that receives the JWT-SVID with --audience',
    );
  }
  const rootsPem = roots === undefined ? undefined : await rootsFrom(terminal, roots);
  const url = endpointUrl(endpoint, 'https://kubespiffe-tokens.kubespiffe.svc/token');
  if (certificate !== undefined && file !== '-') {
    throw usageError(
      `both ${file} and --certificate are given`,
      'give one of the two: a request has one credential',
    );
  }
  const credential =
    certificate === undefined
      ? { subjectToken: await readSubjectToken(terminal, file) }
      : { credentialBundle: textOf(await readInput(terminal, certificate)) };
  const { env } = terminal;
  const { token } = await getJwtSvid({ url, credential, audience, trust: webTrust(rootsPem), env });
  terminal.out(`${token}\n`);
}

function decode(
  terminal: Terminal,
  text: string,
  file: string,
  { audience, trustDomain, output }: TokenOptions,
): void {
  const parsed = parseJwt(text);
  if (!parsed.ok)
    throw new CliError('TOKEN_INVALID', parsed.reason, 'give one token, without the word Bearer before it');
  const now = Math.floor(terminal.now() / 1000);
  const findings = checkJwtSvid(parsed.value, { now, audience, trustDomain });
  const inspection: Inspection = {
    kind: 'token (its signature is not verified)',
    sections: [
      { title: 'Header', facts: factsOf(parsed.value.header, now), findings: [] },
      { title: 'Claims', facts: factsOf(parsed.value.claims, now), findings },
    ],
  };
  printInspection(terminal, inspection, nameOfInput(file), output);
}

const times = new Set(['exp', 'iat', 'nbf']);

/** Members as they are, times also for people. */
function factsOf(members: ParsedJwt['claims'], now: number): Record<string, string> {
  return Object.fromEntries(
    Object.entries(members).map(([name, value]) => {
      const text = printable(typeof value === 'string' ? value : JSON.stringify(value));
      const isTime = times.has(name) && typeof value === 'number' && Math.abs(value) < 8e12;
      return [printable(name), isTime ? `${text} (${rfc3339(value)}, ${fromNow(value, now)})` : text];
    }),
  );
}

async function verify(terminal: Terminal, text: string, options: TokenOptions): Promise<void> {
  const { bundle, audience, trustDomain, output } = options;
  if (bundle === undefined || audience === undefined || trustDomain === undefined) {
    const hint =
      'give all three: a bundle does not name its trust domain, and a token is for one receiver only';
    throw usageError('--verify needs --bundle, --audience and --trust-domain', hint);
  }
  const name = parseTrustDomain(trustDomain);
  if (!name.ok) throw new CliError('SPIFFE_ID_INVALID', name.reason);
  const material = readTrustMaterial(await readInput(terminal, bundle));
  if (!material.ok) throw new CliError('BUNDLE_INVALID', `${nameOfInput(bundle)}: ${material.reason}`);
  warnOfIgnored(terminal, material.value);
  const now = Math.floor(terminal.now() / 1000);
  const verified = verifyJwtSvid(text, material.value.jwtKeys, { now, audience, trustDomain });
  if (!verified.ok) {
    const hint = '`kubespiffe token --decode FILE` shows what is in it';
    throw new CliError('TOKEN_INVALID', `the token is not valid: ${verified.reason}`, hint);
  }
  const { id, audiences, expiresAt, jwt } = verified.value;
  if (output) {
    const { header, claims } = jwt;
    return printObject(terminal, output, {
      id: id.uri,
      audiences,
      expiresAt: rfc3339(expiresAt),
      header,
      claims,
    });
  }
  terminal.out(
    `${mark(terminal, 'good', 'valid')}\n` +
      `SPIFFE ID   ${id.uri}\n` +
      `Audience    ${audiences.map(printable).join(', ')}\n` +
      `Expires     ${rfc3339(expiresAt)} (${fromNow(expiresAt, now)})\n`,
  );
}
