import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';

/**
 * What the process itself costs, under the names that Prometheus dashboards expect. All are read when scraped;
 * nothing runs in between (prom-client's own event loop histogram would wake the process a hundred times a second).
 */
export function registerProcessMetrics(registry: Registry): void {
  const registers = [registry];
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time spent, in seconds.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read());
      },
    });
  gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', process.memoryUsage.rss);
  gauge('nodejs_heap_size_used_bytes', 'Bytes of the JavaScript heap in use.', () => {
    return process.memoryUsage().heapUsed;
  });
  gauge('process_start_time_seconds', 'When the process started, in seconds since the epoch.', () => {
    return Math.round(performance.timeOrigin / 1000);
  });
  let last = performance.eventLoopUtilization();
  const utilization = 'Share of the time since the last scrape in which the event loop was busy.';
  gauge('nodejs_eventloop_utilization_ratio', utilization, () => {
    const before = last;
    last = performance.eventLoopUtilization();
    return performance.eventLoopUtilization(last, before).utilization;
  });
}
