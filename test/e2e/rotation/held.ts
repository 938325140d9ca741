import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand } from '../../cluster/command.ts';
import type { Judges } from '../../judges/judges.ts';
import type { PySpiffe } from '../../judges/py-spiffe.ts';
import { type Installation, trustDomain } from '../installation.ts';
import { namespace, ring } from './ring.ts';

/** Judges every certificate and all roots that a pod of the ring has, as soon as it has them. */
export interface HeldJudge {
  readonly problems: readonly string[];
  /** How many different certificates and roots were judged, each certificate with the roots beside it. */
  judged(): number;
  stop(): Promise<void>;
}

/** go-spiffe, OpenSSL, py-spiffe and `kubespiffe inspect`. @param restMs between two looks. */
export function judgeWhatIsHeld(
  { node, kubespiffe }: Installation,
  {
    judges,
    pySpiffe,
    restMs,
  }: { readonly judges: Judges; readonly pySpiffe: PySpiffe; readonly restMs: number },
): HeldJudge {
  const problems: string[] = [];
  const known = new Set<string>();
  let isStopped = false;

  async function judge(credentials: string, roots: string): Promise<string[]> {
    const bundles = { [trustDomain]: roots };
    const verdicts = [
      await judges.x509Svid({ chain: credentials, bundles, key: credentials }),
      await pySpiffe.x509({ trustDomain, credentials, roots }),
    ];
    const folder = await mkdtemp(join(tmpdir(), 'kubespiffe-held-'));
    try {
      const files = { held: join(folder, 'held.pem'), roots: join(folder, 'roots.pem') };
      await writeFile(files.held, credentials, { mode: 0o600 });
      await writeFile(files.roots, roots);
      const openssl = ['-x509_strict', '-CAfile', files.roots, '-untrusted', files.held, files.held];
      const inspect = [files.held, '--roots', files.roots, '--trust-domain', trustDomain];
      const ran = await Promise.allSettled([
        runCommand('openssl', 'verify', '-purpose', 'sslserver', ...openssl),
        runCommand('openssl', 'verify', '-purpose', 'sslclient', ...openssl),
        kubespiffe('inspect', ...inspect),
        kubespiffe('inspect', files.roots, '--trust-domain', trustDomain),
      ]);
      const failed = ran.flatMap((each) => (each.status === 'rejected' ? [String(each.reason)] : []));
      return [...verdicts.flatMap(({ errors }) => errors), ...failed];
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async function look(name: string): Promise<void> {
    const read = (file: string) => node.readVolumeFile({ namespace, name }, 'spiffe', file);
    const [credentials, roots] = [await read('credentials.pem'), await read('roots.pem')];
    if (known.has(credentials + roots)) return;
    known.add(credentials + roots);
    problems.push(...(await judge(credentials, roots)).map((problem) => `${name}: ${problem}`));
  }

  const ended = (async () => {
    while (!isStopped) {
      // A pod cannot be looked up while the API server is away.
      for (const name of ring) await look(name).catch(() => undefined);
      await sleep(restMs);
    }
  })();
  return {
    problems,
    judged: () => known.size,
    async stop() {
      isStopped = true;
      await ended;
    },
  };
}
