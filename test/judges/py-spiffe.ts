import { join } from 'node:path';
import { type Verdict, verdictSchema } from './judges.ts';
import { downloadPython, installPython } from './python.ts';
import { run } from './run.ts';

const folder = join(import.meta.dirname, 'py-spiffe');

export interface PySpiffe {
  /** The interpreter that it runs in, which has PyJWT and cryptography too. */
  readonly python: string;
  /** A folder with the files that pip installed it from. */
  readonly wheels: string;
  /** `JwtBundle.parse` of a JWK set and, with a token, `JwtSvid.parse_and_validate`. Facts: kids, id, audience. */
  judge(question: { trustDomain: string; jwks: string; token?: string; audience?: string }): Promise<Verdict>;
  /** `X509Svid.parse` of a key and the chain after it, and `X509Bundle.parse` of roots; all PEM. Facts: id, roots (their count). */
  x509(question: { trustDomain: string; credentials: string; roots: string }): Promise<Verdict>;
  /** Every method of a Workload API. Facts: x509, x509-bundles, fetched-bundles, jwt, jwt-bundles, validated. */
  workloadApi(question: { address: string; audience: string }): Promise<Verdict>;
  /** The first two X.509 contexts of a stream. Facts: first, next. */
  workloadApiUpdate(address: string): Promise<Verdict>;
}

/** Installs py-spiffe into a virtual environment in the user's cache folder where that was not done yet. */
export async function openPySpiffe(env: NodeJS.ProcessEnv = process.env): Promise<PySpiffe> {
  const requirements = join(folder, 'requirements.txt');
  const programs = await installPython(requirements, env);
  const wheels = await downloadPython(requirements, programs);
  const python = join(programs, 'python');
  const ask = async (question: object): Promise<Verdict> => {
    const words = ['-I', join(folder, 'judge.py')];
    const { code, stdout, stderr } = await run(python, words, JSON.stringify(question));
    if (code !== 0) throw new Error(`py-spiffe ended with ${code}: ${stderr}`);
    return verdictSchema.parse(JSON.parse(stdout));
  };
  return {
    python,
    wheels,
    judge: ask,
    x509: ask,
    workloadApi: ({ address, audience }) => ask({ workloadApi: address, audience }),
    workloadApiUpdate: (address) => ask({ workloadApi: address }),
  };
}
