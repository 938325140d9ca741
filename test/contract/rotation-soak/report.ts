import { readdirSync } from 'node:fs';
import type { X509Source } from '../../../workload/x509-source.ts';

/** What a process of the soak writes each second, as a line of JSON. */
export interface Sample {
  /** Requests that were answered, or served. */
  readonly requests: number;
  /** What failed, as far as it differs. */
  readonly failures: readonly string[];
  /** Certificates that this process had so far. */
  readonly certificates: number;
  /** After a garbage collection. */
  readonly heapBytes: number;
  readonly rssBytes: number;
  readonly openFiles: number;
  readonly handles: number;
}

/** Counts, and reports every second. */
export function createReport(source: X509Source) {
  let requests = 0;
  let certificates = 1;
  const failures = new Set<string>();
  source.events.on('update', () => {
    certificates += 1;
  });
  source.events.on('problem', ({ message }) => failures.add(message));
  setInterval(() => {
    gc?.();
    const { heapUsed, rss } = process.memoryUsage();
    const sample: Sample = {
      ...{ requests, failures: [...failures], certificates, heapBytes: heapUsed, rssBytes: rss },
      openFiles: readdirSync('/proc/self/fd').length,
      handles: process.getActiveResourcesInfo().length,
    };
    console.log(JSON.stringify(sample));
  }, 1_000);
  return {
    answered: () => {
      requests += 1;
    },
    failed: (error: Error) => void failures.add(error.message),
  };
}
