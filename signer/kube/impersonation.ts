import type { KubeconfigUser } from './kubeconfig.ts';

/** The headers that ask the API server to act as another user, as client-go sends them. */
export function impersonationHeaders(user: KubeconfigUser | undefined): Record<string, string | string[]> {
  if (user?.as === undefined) return {};
  return {
    'impersonate-user': user.as,
    ...(user.asUid !== undefined && { 'impersonate-uid': user.asUid }),
    ...(user.asGroups.length > 0 && { 'impersonate-group': [...user.asGroups] }),
    ...Object.fromEntries(
      Object.entries(user.asUserExtra).map(([key, values]) => [
        `impersonate-extra-${escaped(key).toLowerCase()}`,
        [...values],
      ]),
    ),
  };
}

/** Characters that a header name cannot have, and the percent sign, are percent-encoded. */
function escaped(key: string): string {
  return [...Buffer.from(key)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9!#$&'*+\-.^_`|~]/.test(character)
        ? character
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
