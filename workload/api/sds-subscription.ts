import { type Secret, secretType } from './sds-secrets.ts';

/** What one stream of Envoy asked for, and what of it Envoy has. */
export interface Subscription {
  /** Reads a request, which is a subscription, the acceptance of a response, or its rejection. */
  take(request: object): void;
  names(): readonly string[];
  /** The response that Envoy does not have yet. All names are among the secrets. */
  next(secrets: ReadonlyMap<string, Secret>): object | undefined;
}

type OnRejected = (secrets: readonly Secret[]) => void;
type Secrets = ReadonlyMap<string, Secret>;

const pick = (secrets: Secrets, names: readonly string[]): readonly Secret[] =>
  names.map((name) => secrets.get(name)).filter((secret) => secret !== undefined);

/** State of the world: a request has all names, a response all secrets. */
export function worldSubscription(onRejected: OnRejected): Subscription {
  let wanted: readonly string[] = [];
  let sent: readonly Secret[] | undefined;
  let version = '';
  let nonce = 0;
  return {
    take(request) {
      const { resource_names, response_nonce, error_detail } = request as {
        readonly resource_names: readonly string[];
        readonly response_nonce: string;
        readonly error_detail: object | null;
      };
      // The answer to an older response: the one to the newest is still to come.
      if (response_nonce !== '' && response_nonce !== String(nonce)) return;
      if (error_detail && sent) onRejected(sent);
      const names = new Set(resource_names);
      if (names.size === wanted.length && wanted.every((name) => names.has(name))) return;
      wanted = [...names];
      version = '';
    },
    names: () => wanted,
    next(secrets) {
      if (wanted.length === 0) return undefined;
      const found = pick(secrets, wanted);
      const next = found.map((secret) => secret.version).join('.');
      if (next === version) return undefined;
      version = next;
      sent = found;
      nonce += 1;
      const resources = found.map(({ resource }) => resource);
      return { version_info: version, resources, type_url: secretType, nonce: String(nonce) };
    },
  };
}

/** Delta: a request changes the names, a response has the secrets that changed. */
export function deltaSubscription(onRejected: OnRejected): Subscription {
  /** The version that Envoy has of each secret it asked for. Empty where it has none. */
  const versions = new Map<string, string>();
  let sent: readonly Secret[] = [];
  let nonce = 0;
  return {
    take(request) {
      const {
        resource_names_subscribe: added,
        resource_names_unsubscribe: removed,
        initial_resource_versions: initial,
        response_nonce,
        error_detail,
      } = request as {
        readonly resource_names_subscribe: readonly string[];
        readonly resource_names_unsubscribe: readonly string[];
        readonly initial_resource_versions: Readonly<Record<string, string>>;
        readonly response_nonce: string;
        readonly error_detail: object | null;
      };
      if (error_detail && response_nonce === String(nonce)) onRejected(sent);
      for (const name of removed) versions.delete(name);
      // A name that is asked for again is sent again, unless Envoy says that it has kept it over a reconnection.
      for (const name of added) versions.set(name, Object.hasOwn(initial, name) ? (initial[name] ?? '') : '');
    },
    names: () => [...versions.keys()],
    next(secrets) {
      const changed = pick(secrets, [...versions.keys()]).filter(
        ({ name, version }) => versions.get(name) !== version,
      );
      if (changed.length === 0) return undefined;
      for (const { name, version } of changed) versions.set(name, version);
      sent = changed;
      nonce += 1;
      return { resources: changed, type_url: secretType, nonce: String(nonce) };
    },
  };
}
