// A stand-in for the command `aws` where there is no account: it demands of issuer and token what AWS documents. It asks for
// the documents of the issuer in a pod of the cluster, since the issuer of the lesson is not public.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { relyingParties, unmet } from '../contract/clouds/parties.ts';

const [service = '', verb = '', ...rest] = process.argv.slice(2);
const texts = [
  ...['url', 'client-id-list', 'role-name', 'assume-role-policy-document'],
  ...['role-arn', 'role-session-name', 'web-identity-token'],
];
const { values } = parseArgs({
  args: rest,
  options: {
    'no-sign-request': { type: 'boolean' },
    ...Object.fromEntries(texts.map((name) => [name, { type: 'string' } as const])),
  },
});
const option = (name: string) => String(values[name as keyof typeof values]);
const file = (name: string) => readFileSync(option(name).replace('file://', ''), 'utf8').trim();

const verbs: Record<string, () => void | Promise<void>> = {
  'iam create-open-id-connect-provider': () =>
    writeFileSync(
      'aws-provider.json',
      JSON.stringify({ url: option('url'), client: option('client-id-list') }),
    ),
  'iam create-role': () =>
    writeFileSync(`aws-role-${option('role-name')}.json`, file('assume-role-policy-document')),
  'sts assume-role-with-web-identity': assumeRole,
};
await (verbs[`${service} ${verb}`] ?? (() => refuse('InvalidAction', `${service} ${verb}`)))();

async function assumeRole(): Promise<void> {
  const provider = JSON.parse(readFileSync('aws-provider.json', 'utf8'));
  const token = file('web-identity-token');
  const discovery = document('/.well-known/openid-configuration');
  const keys = document(new URL(discovery.jwks_uri).pathname);
  const audience = provider.client;
  const { payload: claims } = await jwtVerify(token, createLocalJWKSet(keys), {
    ...{ issuer: provider.url, audience },
  }).catch((error: Error) => refuse('InvalidIdentityToken', error.message));
  const aws = relyingParties.find(({ name }) => name === 'AWS IAM');
  const problems = aws
    ? unmet(aws, {
        ...{ issuer: provider.url, discovery, keys: keys.keys, claims, tokenLength: token.length },
        header: { ...decodeProtectedHeader(token) },
        now: Math.floor(Date.now() / 1000),
      })
    : ['no such party'];
  if (problems.length > 0) refuse('InvalidIdentityToken', problems.join('; '));
  const role = option('role-arn').split('/').at(-1);
  const policy = JSON.parse(readFileSync(`aws-role-${role}.json`, 'utf8'));
  const host = provider.url.replace('https://', '');
  const { StringEquals } = policy.Statement[0].Condition;
  for (const [key, value] of Object.entries(StringEquals)) {
    if (claims[key.replace(`${host}:`, '')] !== value) {
      refuse('AccessDenied', 'Not authorized to perform sts:AssumeRoleWithWebIdentity');
    }
  }
  console.log(JSON.stringify({ SubjectFromWebIdentityToken: claims.sub, Audience: claims.aud }, null, 2));
}

function document(path: string) {
  const program = `
    const { readFileSync } = require('node:fs');
    const ca = readFileSync('/run/spiffe/roots.pem');
    require('node:https').get('https://kubespiffe-tokens.kubespiffe.svc${path}', { ca }, (answer) => answer.pipe(process.stdout));`;
  const pod = ['exec', '--namespace', 'greeter', 'client', '--', 'node', '--eval', program];
  return JSON.parse(execFileSync('kubectl', pod, { encoding: 'utf8' }));
}

function refuse(code: string, message: string): never {
  console.error(`An error occurred (${code}) when calling the ${verb} operation: ${message}`);
  process.exit(254);
}
