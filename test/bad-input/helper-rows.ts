import type { BadInput } from './rows.ts';

const configuration = 'workload/helper/config.test.ts';
const spiffeHelper = 'workload/helper/spiffe-helper.test.ts';
const failures = 'workload/helper/failures.test.ts';
const reload = 'workload/helper/reload.test.ts';
const keystores = 'workload/helper/keystores.test.ts';
const sources = 'workload/helper/sources.test.ts';
const helper = 'workload/helper/helper.test.ts';

/** Bad input to `kubespiffe helper`. */
export const helperBadInput: readonly BadInput[] = [
  {
    input: 'to the helper: a configuration that is empty, broken, of another kind, or with an unknown key',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with an empty file'],
      [configuration, 'a configuration of the helper is refused with broken YAML'],
      [configuration, 'a configuration of the helper is refused with another kind'],
      [configuration, 'a configuration of the helper is refused with an unknown key'],
      [configuration, 'a configuration of the helper is refused with an unknown key of a file'],
      [configuration, 'a configuration of the helper is refused with every problem in one message'],
    ],
  },
  {
    input: 'to the helper: a configuration with YAML aliases',
    verdict: 'the helper does not start',
    tests: [[configuration, 'a configuration of the helper is refused with YAML aliases']],
  },
  {
    input: 'to the helper: any other text as configuration',
    verdict: 'the helper does not start',
    tests: [[configuration, 'any text as configuration is read, or ends in CONFIG_INVALID']],
  },
  {
    input: 'to the helper: a file name with a path, or one that the helper uses itself, or that stands twice',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with a file with a path'],
      [configuration, 'a configuration of the helper is refused with a file with a name of the helper'],
      [configuration, 'a configuration of the helper is refused with two files with one name'],
    ],
  },
  {
    input: 'to the helper: the volume as the folder of the files',
    verdict: 'the helper does not start',
    tests: [[configuration, 'a configuration of the helper is refused with the folder of the source']],
  },
  {
    input: 'to the helper: a mode in decimal digits, or with setuid',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with a mode in decimal digits'],
      [configuration, 'a configuration of the helper is refused with a mode with setuid'],
    ],
  },
  {
    input:
      'to the helper: a token without audience or without token endpoint, or a token endpoint without TLS',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with a token without audience'],
      [configuration, 'a configuration of the helper is refused with a token without token endpoint'],
      [configuration, 'a configuration of the helper is refused with a token endpoint without TLS'],
    ],
  },
  {
    input: 'to the helper: a signal that does not exist or cannot be handled, or that has no receiver',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with an unknown signal'],
      [configuration, 'a configuration of the helper is refused with SIGKILL'],
      [configuration, 'a configuration of the helper is refused with a signal without a process'],
    ],
  },
  {
    input: 'to the helper: a port of the health endpoint that does not exist, or is in use',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with a port above 65535'],
      [failures, 'the helper ends if the port of its health endpoint is in use'],
    ],
  },
  {
    input: 'to the helper: a configuration of spiffe-helper that is cut off, or nested without end',
    verdict: 'the helper does not start',
    tests: [
      [spiffeHelper, 'a configuration of spiffe-helper is refused with a string that is not closed'],
      [spiffeHelper, 'a configuration of spiffe-helper is refused with a list that is not closed'],
      [spiffeHelper, 'a configuration of spiffe-helper is refused with lists in lists without end'],
    ],
  },
  {
    input:
      'to the helper: a configuration of spiffe-helper with a mode without leading zero, or arguments with an open quote',
    verdict: 'the helper does not start',
    tests: [
      [spiffeHelper, 'a configuration of spiffe-helper is refused with a mode without leading zero'],
      [spiffeHelper, 'a configuration of spiffe-helper is refused with arguments with an open quote'],
    ],
  },
  {
    input: 'to the helper: a volume that is truncated, or has the key of another certificate, or no roots',
    verdict: 'the old files stay',
    tests: [
      [
        failures,
        'the helper keeps its files when the volume is truncated, reports that once, and takes the next good one',
      ],
      [
        failures,
        'the helper keeps its files when the volume has the key of another certificate, reports that once, and takes the next good one',
      ],
      [
        failures,
        'the helper keeps its files when the volume has no roots, reports that once, and takes the next good one',
      ],
    ],
  },
  {
    input: 'to the helper: a volume or Workload API that does not exist',
    verdict: 'it waits; with `--once`, it ends with 1 after 30 seconds',
    tests: [
      [failures, 'a helper that runs once ends with the reason if it cannot write in time'],
      [sources, 'the helper waits for a Workload API, is ready when the files are written, and follows it'],
    ],
  },
  {
    input: 'to the helper: a full disk',
    verdict: 'the old files stay',
    tests: [
      [
        failures,
        'the helper keeps its files when the disk is full, reports that, and writes them when there is room',
      ],
    ],
  },
  {
    input: 'to the helper: a file of another program with the name of one of its own',
    verdict: 'it is replaced at once',
    tests: [
      [
        helper,
        'the helper replaces all files at one moment, removes those no longer configured, and leaves other files',
      ],
    ],
  },
  {
    input: 'to the helper: a folder with the name of a file',
    verdict: 'the other files stay',
    tests: [
      [failures, 'the helper reports which file cannot be written, also if its name is that of a folder'],
    ],
  },
  {
    input: 'to the helper: a password file that is missing, empty, not UTF-8 or longer than 1024 bytes',
    verdict: 'the other files are written',
    tests: [
      [failures, 'the helper writes the other files if a password file is missing'],
      [failures, 'the helper writes the other files if a password file is empty'],
      [failures, 'the helper writes the other files if a password file is not UTF-8'],
      [failures, 'the helper writes the other files if a password file has 1025 bytes'],
      [failures, 'the helper writes the other files if a password file has 513 letters of two bytes'],
    ],
  },
  {
    input: 'to the helper: a password in its configuration that is empty or longer than 1024 bytes',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'a configuration of the helper is refused with a password of a byte order mark alone'],
      [configuration, 'a configuration of the helper is refused with a password of 1025 bytes'],
      [configuration, 'a configuration of the helper is refused with a password of 513 letters of two bytes'],
    ],
  },
  {
    input: 'to the helper: a password beyond ASCII',
    verdict: 'OpenSSL reads the keystore, Java refuses it',
    tests: [
      [
        keystores,
        'a keystore with a password beyond ASCII is read by OpenSSL, although Java refuses such a password',
      ],
    ],
  },
  {
    input: 'to the helper: a pid file that is missing, empty, a word or a named pipe',
    verdict: 'no signal',
    tests: [
      [reload, 'a reload fails with a reason if a pid file is missing'],
      [reload, 'a reload fails with a reason if a pid file is empty'],
      [reload, 'a reload fails with a reason if a pid file has a word'],
      [reload, 'a reload does not wait for a pid file that is a named pipe'],
    ],
  },
  {
    input: 'to the helper: a pid file with 0, -1 or a number that is too large',
    verdict: 'no signal',
    tests: [
      [reload, 'a reload fails with a reason if a pid file has 0, which means the own group of processes'],
      [reload, 'a reload fails with a reason if a pid file has -1, which means every process'],
      [reload, 'a reload fails with a reason if a pid file has a number that is too large'],
    ],
  },
  {
    input: 'to the helper: a pid file with a process that does not exist, or with the helper itself',
    verdict: 'no signal',
    tests: [
      [reload, 'a reload fails with a reason if a pid file has a process that does not exist'],
      [reload, 'a reload fails with a reason if a pid file has the helper itself'],
    ],
  },
  {
    input: 'to the helper: the name of no process, or of several programs',
    verdict: 'no signal',
    tests: [
      [reload, 'a reload fails with a reason if no process has the name'],
      [reload, 'a reload sends nothing if several programs have the name'],
    ],
  },
  {
    input: 'to the helper: a process that has only just been started',
    verdict: 'its signal comes two seconds later',
    tests: [
      [
        reload,
        'a reload signals the process with the configured name, not its children, once it can handle signals',
      ],
    ],
  },
  {
    input: 'to the helper: a command that fails, does not exist, or does not end',
    verdict: 'it is run again until it succeeds',
    tests: [
      [reload, 'a reload fails with a reason if a command fails'],
      [reload, 'a reload fails with a reason if a command does not exist'],
      [reload, 'a reload fails with a reason if a command does not end'],
      [reload, 'a reload leaves no process behind of a command that takes too long'],
      [
        failures,
        'the helper runs a failed command again until it succeeds, and reports the failure once, after 7 seconds',
      ],
    ],
  },
];
