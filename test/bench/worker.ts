import { type ChildProcess, fork } from 'node:child_process';

/** The calls that a process serves: each takes one object and answers with one. */
// biome-ignore lint/suspicious/noExplicitAny: a call says itself what it takes
type Calls = Record<string, (params: any) => unknown>;

/** Another process of the bench, so that its CPU and its event loop are its own. */
export interface Worker<C extends Calls> {
  readonly pid: number;
  call<N extends keyof C & string>(name: N, params: Parameters<C[N]>[0]): Promise<Awaited<ReturnType<C[N]>>>;
  /** As call, but nobody waits for an answer. */
  tell<N extends keyof C & string>(name: N, params: Parameters<C[N]>[0]): void;
  stop(): void;
}

interface Message {
  /** Undefined where no answer is wanted. */
  readonly id: number | undefined;
  readonly name: string;
  readonly params: unknown;
}

type Reply = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

/** Starts `file`, which calls serveCalls. It ends with this process. */
export function startWorker<C extends Calls>(file: string): Worker<C> {
  const child: ChildProcess = fork(file, { serialization: 'advanced' });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  child.on('message', (reply: Reply) => {
    const caller = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('error' in reply) caller?.reject(new Error(reply.error));
    else caller?.resolve(reply.value as never);
  });
  child.on('exit', (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`${file} ended: ${signal ?? code}`));
    waiting.clear();
  });
  return {
    pid: child.pid ?? 0,
    call: (name, params) =>
      new Promise((resolve, reject) => {
        lastId += 1;
        waiting.set(lastId, { resolve, reject });
        child.send({ id: lastId, name, params } satisfies Message);
      }),
    tell: (name, params) => void child.send({ id: undefined, name, params } satisfies Message),
    stop: () => {
      if (child.connected) child.disconnect();
    },
  };
}

/** Serves calls to the process that started this one, and ends when that one is gone or lets go. */
export function serveCalls(calls: Calls): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', ({ id, name, params }: Message) => {
    void (async () => calls[name]?.(params))().then(
      (value) => id !== undefined && process.send?.({ id, value }),
      (error: Error) => {
        if (id === undefined) throw error;
        process.send?.({ id, error: error.stack ?? error.message });
      },
    );
  });
}
