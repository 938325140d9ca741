import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import { waitFor } from '../cluster/process.ts';
import { makeStateFolder } from '../cluster/state-folder.ts';

export interface FullPipe {
  /** Its path; a program may open it for writing. */
  readonly file: string;
  /** Reads what was written behind the filling, until `isEnough` is true of the text so far. */
  readUntil(isEnough: (text: string) => boolean): Promise<string>;
  close(): void;
}

/** Makes a named pipe that is full from the start: nothing more can be written until it is read. */
export async function makeFullPipe(): Promise<FullPipe> {
  const file = path.join(await makeStateFolder(), 'pipe');
  execFileSync('mkfifo', [file]);
  // Opened both ways, so that opening it waits for nobody. Only this file description is non-blocking.
  const pipe = openSync(file, constants.O_RDWR | constants.O_NONBLOCK);
  let filled = 0;
  for (const size of [4096, 1]) {
    for (let sent = 1; sent > 0; filled += sent)
      sent = orZero(() => writeSync(pipe, Buffer.alloc(size, '.')));
  }
  let text = '';
  const buffer = Buffer.alloc(65_536);
  return {
    file,
    readUntil: (isEnough) =>
      waitFor(
        'the lines in the pipe',
        () => {
          for (let size = 1; size > 0; ) {
            size = orZero(() => readSync(pipe, buffer));
            text += buffer.toString('latin1', 0, size);
          }
          const written = text.slice(filled);
          return isEnough(written) && written;
        },
        { everyMs: 5 },
      ),
    close: () => closeSync(pipe),
  };
}

/** How many bytes passed; none when the pipe is full, or empty, now. */
function orZero(pass: () => number): number {
  try {
    return pass();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}
