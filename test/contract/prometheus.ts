import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { freePorts } from '../cluster/ports.ts';
import { startChild, waitFor } from '../cluster/process.ts';
import { makeStateFolder } from '../cluster/state-folder.ts';

/** A real Prometheus, asked by its HTTP API. */
export interface Prometheus {
  /** `data` of the answer to a path below /api/v1; rejects with what Prometheus has against the query. */
  get<T>(path: string, parameters?: Readonly<Record<string, string>>): Promise<T>;
  /** How many series the query finds now. */
  count(query: string): Promise<number>;
  stop(): Promise<void>;
}

/**
 * Starts a Prometheus that scrapes one replica, and evaluates rules, every second.
 *
 * @param url of the replica's metrics server, without a path.
 * @param rules what a file of rules has.
 */
export async function startPrometheus(url: string, rules: object): Promise<Prometheus> {
  const [port] = await freePorts(1);
  const folder = await makeStateFolder();
  const file = (name: string) => path.join(folder, name);
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [file('rules.json')],
    scrape_configs: [{ job_name: 'kubespiffe', static_configs: [{ targets: [new URL(url).host] }] }],
  };
  await writeFile(file('rules.json'), JSON.stringify(rules));
  await writeFile(file('prometheus.json'), JSON.stringify(config));
  const child = startChild(
    'prometheus',
    [
      'prometheus',
      `--config.file=${file('prometheus.json')}`,
      `--storage.tsdb.path=${file('data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { logFile: file('prometheus.log') },
  );
  const get = async <T>(below: string, parameters: Readonly<Record<string, string>> = {}): Promise<T> => {
    const answer = await fetch(
      `http://127.0.0.1:${port}/api/v1/${below}?${new URLSearchParams({ ...parameters })}`,
    );
    const { status, error, data } = (await answer.json()) as { status: string; error?: string; data: T };
    if (status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${error}`);
    return data;
  };
  const count = async (query: string) => (await get<{ result: unknown[] }>('query', { query })).result.length;
  await waitFor('the first scrape', async () => (await count('kubespiffe_ready')) > 0, { needs: [child] });
  return { get, count, stop: () => child.stop() };
}
