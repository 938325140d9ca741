import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane } from '../cluster/control-plane.ts';
import { blocksBelow, checkout, readPage } from '../docs/markdown.ts';
import { openPySpiffe } from '../judges/py-spiffe.ts';
import {
  endpointAudience,
  installTokenEndpoint,
  jwtIssuer,
  startTokenSigner,
  type TokenSigner,
  tokenFor,
} from './token-endpoint.ts';
import { createPod } from './workloads.ts';

const audience = 'https://api.example.com';
const spiffeId = 'spiffe://example.org/ns/default/sa/default';

interface Ran {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** The programs of the guide for application developers, run as they stand there against a real endpoint. */
describe('the token guide', () => {
  let controlPlane: ControlPlane;
  let endpoint: TokenSigner;
  let folder: string;
  let programs: (heading: string, language: string) => Promise<string>;

  before(async () => {
    controlPlane = await startControlPlane();
    const installed = await installTokenEndpoint(controlPlane);
    endpoint = await startTokenSigner(installed);
    await endpoint.signer.ready();
    folder = await mkdtemp(join(tmpdir(), 'kubespiffe-guide-'));
    const roots = installed.pool.authorities.flatMap(({ certificate }) => certificate ?? []);
    await writeFile(join(folder, 'roots.pem'), roots.join(''));
    await writeFile(join(folder, 'token'), await tokenFor(controlPlane, await createPod(controlPlane)));
    const page = await readPage('docs/guides/tokens.md');
    programs = async (heading, language) => {
      const [block] = blocksBelow(page, heading).filter((each) => each.language === language);
      assert.ok(block, `${heading}: no ${language}`);
      return here(block.code);
    };
  });
  after(async () => {
    endpoint?.agent.destroy();
    await controlPlane?.stop();
    if (folder) await rm(folder, { recursive: true });
  });

  /** A cluster has the Service and the volume at these places; here they are elsewhere. */
  const here = (code: string) =>
    code
      .replaceAll('https://kubespiffe-tokens.kubespiffe.svc', `https://localhost:${endpoint.port}`)
      .replaceAll('/run/spiffe', folder)
      .replaceAll('https://identity.example.org', jwtIssuer);

  async function run(command: readonly string[], cwd: string, input = ''): Promise<Ran> {
    const [program = '', ...args] = command;
    const child = spawn(program, args, { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.end(input);
    const exit = new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    const [code, output, errors] = await Promise.all([exit, text(child.stdout), text(child.stderr)]);
    return { code, output: output.trim(), errors };
  }

  async function fileOf(name: string, content: string): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  }

  /** As `run`, of a program with a last line that uses what it defines. Node finds jose from the checkout. */
  const node = async (code: string, last: string, input?: string) =>
    run([process.execPath, '--input-type=module', '--eval', `${code}\n${last}\n`], checkout, input);
  const python = async (code: string, last: string, input?: string, interpreter = 'python3') =>
    run([interpreter, await fileOf('guide.py', `${code}\n${last}\n`)], folder, input);
  const go = async (name: string, code: string, main: string, input?: string) => {
    const imports = ['context', 'fmt', 'io', 'os'].filter((each) => main.includes(`${each}.`));
    const driver = `package main\n\nimport (\n${imports.map((each) => `\t"${each}"\n`).join('')})\n\n${main}\n`;
    const files = [await fileOf(`${name}.go`, code), await fileOf(`${name}-main.go`, driver)];
    // With the modules and the flags of the judges, whose compiled packages are there already.
    return run(['go', 'run', '-trimpath', ...files], join(checkout, 'test/judges'), input);
  };

  async function assertSvid(ran: Ran): Promise<void> {
    assert.equal(ran.code, 0, ran.errors);
    const token = ran.output;
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    assert.deepEqual([claims.sub, claims.aud], [spiffeId, audience]);
  }

  const svid = async () => {
    const answer = await endpoint.exchange(await tokenFor(controlPlane, await createPod(controlPlane)), {
      audience,
    });
    return String(answer.json.access_token);
  };
  /** The same with another audience: good, and not for the receiver of the guide. */
  const foreign = async () => {
    const token = await tokenFor(controlPlane, await createPod(controlPlane));
    const answer = await endpoint.exchange(token, { audience: 'https://other.example.com' });
    return String(answer.json.access_token);
  };

  it('the token guide shows a pod that the API server accepts, with the audience of the endpoint', async () => {
    const pod = (await programs('What the pod needs', 'yaml'))
      .replace('namespace: shop', 'namespace: default')
      .replace('serviceAccountName: web', 'serviceAccountName: default');
    assert.ok(pod.includes(`audience: ${endpointAudience}\n`));
    const file = await fileOf('pod.yaml', pod);
    await controlPlane.kubectl(['apply', '--validate=strict', '--dry-run=server', '-f', file]);
    const wrong = await fileOf('wrong.yaml', pod.replace('expirationSeconds', 'expiration'));
    await assert.rejects(
      controlPlane.kubectl(['apply', '--validate=strict', '--dry-run=server', '-f', wrong]),
    );
  });

  it('a pod gets a JWT-SVID with curl', async () => {
    const ran = await run(['sh', '-euc', await programs('Get it with curl', 'sh')], folder);
    assert.equal(ran.code, 0, ran.errors);
    await assertSvid({ ...ran, output: JSON.parse(ran.output).access_token });
  });

  it('a pod gets a JWT-SVID with each command of the reference', async () => {
    const page = await readPage('docs/reference/token-endpoint.md');
    const blocks = blocksBelow(page, 'Getting a JWT-SVID').filter(({ language }) => language === 'sh');
    assert.equal(blocks.length, 2);
    for (const { code } of blocks) {
      const ran = await run(['sh', '-euc', here(code)], folder);
      assert.equal(ran.code, 0, ran.errors);
      const answer = JSON.parse(ran.output);
      await assertSvid({ ...ran, output: answer.access_token ?? answer.token });
    }
  });

  it('a pod gets the bundles of all trust domains with curl, as the guide to federation says', async () => {
    const [block] = blocksBelow(await readPage('docs/guides/federation.md'), 'Verify JWT-SVIDs of a partner');
    const ran = await run(['sh', '-euc', here(block?.code ?? 'false')], folder);
    assert.equal(ran.code, 0, ran.errors);
    assert.deepEqual(Object.keys(JSON.parse(ran.output).trust_domains), ['example.org']);
  });

  it('a pod gets a JWT-SVID with Node, and the same one again while it is young', async () => {
    const code = await programs('Get it with Node', 'js');
    const last = `const first = await jwtSvid('${audience}');
      if ((await jwtSvid('${audience}')) !== first) throw new Error('asked again');
      console.log(first);`;
    await assertSvid(await node(code, last));
  });

  it('a pod gets a JWT-SVID with Go, and the same one again while it is young', async () => {
    const main = `func main() {
	var tokens Tokens
	first, err := tokens.JWTSVID(context.Background(), "${audience}")
	if err != nil {
		panic(err)
	}
	if second, _ := tokens.JWTSVID(context.Background(), "${audience}"); second != first {
		panic("asked again")
	}
	fmt.Println(first)
}`;
    await assertSvid(await go('get', await programs('Get it with Go', 'go'), main));
  });

  it('a pod gets a JWT-SVID with Python, and the same one again while it is young', async () => {
    const last = `first = jwt_svid("${audience}")\nassert jwt_svid("${audience}") == first\nprint(first)`;
    await assertSvid(await python(await programs('Get it with Python', 'python'), last));
  });

  it('the token guide reports in every language why there is no token', async () => {
    const said = /no JWT-SVID: AudienceForbidden: A JWT-SVID for the audience of the API server/;
    const js = await node(
      await programs('Get it with Node', 'js'),
      `await jwtSvid('${endpointAudience}').catch((error) => console.log(error.message));`,
    );
    assert.match(js.output, said);
    const py = await python(
      await programs('Get it with Python', 'python'),
      `try:\n    jwt_svid("${endpointAudience}")\nexcept RuntimeError as error:\n    print(error)`,
    );
    assert.match(py.output, said);
    const main = `func main() {
	var tokens Tokens
	_, err := tokens.JWTSVID(context.Background(), "${endpointAudience}")
	fmt.Println(err)
}`;
    assert.match((await go('why', await programs('Get it with Go', 'go'), main)).output, said);
  });

  it('the token guide verifies a token with Node and jose, which fetches the keys', async () => {
    const code = await programs('Verify it with Node', 'js');
    const last = `console.log(await callerOf(await text(process.stdin)));`;
    const good = await node(code, last, await svid());
    assert.equal(good.output, spiffeId, good.errors);
    const bad = await node(code, last, await foreign());
    assert.notEqual(bad.code, 0);
    assert.match(bad.errors, /unexpected "aud" claim value/);
  });

  it('the token guide verifies a token with Go and go-spiffe, which fetches the bundle', async () => {
    const code = await programs('Verify it with Go', 'go');
    const main = `func main() {
	token, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	bundle, err := fetchBundle(context.Background())
	if err != nil {
		panic(err)
	}
	caller, err := callerOf(string(token), bundle)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(caller)
}`;
    const good = await go('verify', code, main, await svid());
    assert.equal(good.output, spiffeId, good.errors);
    const bad = await go('verify', code, main, await foreign());
    assert.match(bad.output, /expected audience in/);
  });

  it('the token guide verifies a token with Python and PyJWT, which fetches the keys', async () => {
    const code = await programs('Verify it with Python', 'python');
    const last = 'import sys\nprint(caller_of(sys.stdin.read()))';
    const { python: interpreter } = await openPySpiffe();
    const good = await python(code, last, await svid(), interpreter);
    assert.equal(good.output, spiffeId, good.errors);
    const bad = await python(code, last, await foreign(), interpreter);
    assert.notEqual(bad.code, 0);
    assert.match(bad.errors, /InvalidAudienceError/);
  });
});
