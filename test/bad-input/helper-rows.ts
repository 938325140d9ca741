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
      [configuration, 'is refused with an empty file'],
      [configuration, 'is refused with broken YAML'],
      [configuration, 'is refused with another kind'],
      [configuration, 'is refused with an unknown key'],
      [configuration, 'is refused with an unknown key of a file'],
      [configuration, 'is refused with every problem in one message'],
    ],
  },
  {
    input: 'to the helper: a configuration with YAML aliases',
    verdict: 'the helper does not start',
    tests: [[configuration, 'is refused with YAML aliases']],
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
      [configuration, 'is refused with a file with a path'],
      [configuration, 'is refused with a file with a name of the helper'],
      [configuration, 'is refused with two files with one name'],
    ],
  },
  {
    input: 'to the helper: the volume as the folder of the files',
    verdict: 'the helper does not start',
    tests: [[configuration, 'is refused with the folder of the source']],
  },
  {
    input: 'to the helper: a mode in decimal digits, or with setuid',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'is refused with a mode in decimal digits'],
      [configuration, 'is refused with a mode with setuid'],
    ],
  },
  {
    input:
      'to the helper: a token without audience or without token endpoint, or a token endpoint without TLS',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'is refused with a token without audience'],
      [configuration, 'is refused with a token without token endpoint'],
      [configuration, 'is refused with a token endpoint without TLS'],
    ],
  },
  {
    input: 'to the helper: a signal that does not exist or cannot be handled, or that has no receiver',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'is refused with an unknown signal'],
      [configuration, 'is refused with SIGKILL'],
      [configuration, 'is refused with a signal for nobody'],
    ],
  },
  {
    input: 'to the helper: a port of the health endpoint that does not exist, or is in use',
    verdict: 'the helper does not start',
    tests: [
      [configuration, 'is refused with a port that is none'],
      [failures, 'ends where the port of the health endpoint is in use'],
    ],
  },
  {
    input: 'to the helper: a configuration of spiffe-helper that is cut off, or nested without end',
    verdict: 'the helper does not start',
    tests: [
      [spiffeHelper, 'is refused with a string that is not closed'],
      [spiffeHelper, 'is refused with a list that is not closed'],
      [spiffeHelper, 'is refused with lists in lists without end'],
    ],
  },
  {
    input:
      'to the helper: a configuration of spiffe-helper with a mode without leading zero, or arguments with an open quote',
    verdict: 'the helper does not start',
    tests: [
      [spiffeHelper, 'is refused with a mode without leading zero'],
      [spiffeHelper, 'is refused with arguments with an open quote'],
    ],
  },
  {
    input: 'to the helper: a volume that is truncated, or has the key of another certificate, or no roots',
    verdict: 'the old files stay',
    tests: [
      [
        failures,
        'keeps the files when the volume is truncated, says so once, and goes on with the next good one',
      ],
      [
        failures,
        'keeps the files when the volume has the key of another certificate, says so once, and goes on with the next good one',
      ],
      [
        failures,
        'keeps the files when the volume has no roots, says so once, and goes on with the next good one',
      ],
    ],
  },
  {
    input: 'to the helper: a volume or Workload API that is not there',
    verdict: 'it waits; with `--once`, it ends with 1 after 30 seconds',
    tests: [
      [failures, 'ends with the reason where it runs once and cannot write in time'],
      [
        sources,
        'waits for a Workload API that is not served yet, is ready when the files are written, and follows it',
      ],
    ],
  },
  {
    input: 'to the helper: a full disk',
    verdict: 'the old files stay',
    tests: [[failures, 'keeps the files when the disk is full, says so, and writes them when there is room']],
  },
  {
    input: 'to the helper: a file of another program with the name of one of its own',
    verdict: 'it is replaced at once',
    tests: [
      [
        helper,
        'replaces all files at one moment, removes what is no longer configured, and leaves other files alone',
      ],
    ],
  },
  {
    input: 'to the helper: a folder with the name of a file',
    verdict: 'the other files stay',
    tests: [[failures, 'says which file cannot be written, and where a folder has its name']],
  },
  {
    input: 'to the helper: a password file that is missing, empty or not UTF-8',
    verdict: 'the other files are written',
    tests: [
      [failures, 'writes the other files where a password file is missing'],
      [failures, 'writes the other files where a password file is empty'],
      [failures, 'writes the other files where a password file is not UTF-8'],
    ],
  },
  {
    input: 'to the helper: a password beyond ASCII',
    verdict: 'OpenSSL reads the keystore, Java refuses it',
    tests: [[keystores, 'are read by OpenSSL with a password beyond ASCII, which Java refuses itself']],
  },
  {
    input: 'to the helper: a pid file that is missing, empty, a word or a named pipe',
    verdict: 'no signal',
    tests: [
      [reload, 'says so where a pid file is missing'],
      [reload, 'says so where a pid file is empty'],
      [reload, 'says so where a pid file has a word'],
      [reload, 'does not wait for a pid file that is a named pipe'],
    ],
  },
  {
    input: 'to the helper: a pid file with 0, -1 or a number that is too large',
    verdict: 'no signal',
    tests: [
      [reload, 'says so where a pid file has 0, which means the own group of processes'],
      [reload, 'says so where a pid file has -1, which means every process'],
      [reload, 'says so where a pid file has a number that is too large'],
    ],
  },
  {
    input: 'to the helper: a pid file with a process that does not exist, or with the helper itself',
    verdict: 'no signal',
    tests: [
      [reload, 'says so where a pid file has a process that does not exist'],
      [reload, 'says so where a pid file has the helper itself'],
    ],
  },
  {
    input: 'to the helper: the name of no process, or of several programs',
    verdict: 'no signal',
    tests: [
      [reload, 'says so where no process has the name'],
      [reload, 'sends nothing where several programs have the name'],
    ],
  },
  {
    input: 'to the helper: a process that has only just been started',
    verdict: 'its signal comes two seconds later',
    tests: [
      [
        reload,
        'signals the process of a name, none that it has started, and not before it can handle signals',
      ],
    ],
  },
  {
    input: 'to the helper: a command that fails, does not exist, or does not end',
    verdict: 'it is run again until it succeeds',
    tests: [
      [reload, 'says so where a command fails'],
      [reload, 'says so where a command does not exist'],
      [reload, 'says so where a command does not end'],
      [failures, 'runs a command that fails again until it succeeds, and says so once, after 7 seconds'],
    ],
  },
];
