/**
 * The beginning of a command for `startChild` that runs below another root as an account, `UID:GID`, with these variables
 * alone. The account is changed first: afterwards the kernel would forget to end the program with this process. So the
 * program keeps the right to change its root.
 */
export function chrootAs(
  account: string,
  root: string,
  variables: Readonly<Record<string, string>> = {},
): string[] {
  const [user, group] = account.split(':');
  const environment = { PATH: '/usr/local/bin:/usr/sbin:/usr/bin', ...variables };
  return [
    // The account may not be able to reach the folder by its path.
    ...['env', '-i', '-C', root, ...Object.entries(environment).map((each) => each.join('='))],
    ...['setpriv', `--reuid=${user}`, `--regid=${group}`, '--clear-groups'],
    ...['--inh-caps=+sys_chroot', '--ambient-caps=+sys_chroot', '--pdeathsig', 'KILL', 'chroot', '.'],
  ];
}
