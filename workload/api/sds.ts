import { join } from 'node:path';
import type { ServerDuplexStream, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { KubespiffeError } from '../../spiffe/errors.ts';
import { invalid, notFound, type Refusal, refusals } from './refusal.ts';
import { type Secret, secretsOf, secretType } from './sds-secrets.ts';
import { deltaSubscription, type Subscription, worldSubscription } from './sds-subscription.ts';
import type { WorkloadSource, WorkloadState } from './state.ts';

type Call = ServerDuplexStream<{ readonly type_url: string }, object>;

/**
 * Envoy's Secret Discovery Service, version 3, in both forms of xDS: each response has all secrets that were asked for
 * (state of the world), or those that changed (delta). A secret is sent again whenever its content changes.
 *
 * @param needs onProblem gets a KubespiffeError SECRET_REJECTED when Envoy cannot use what it got.
 */
export function createSecretDiscovery(needs: {
  readonly source: WorkloadSource;
  readonly onProblem: (problem: KubespiffeError) => void;
}) {
  const { source, onProblem } = needs;
  let last: { readonly state: WorkloadState; readonly secrets: ReadonlyMap<string, Secret> } | undefined;
  let rejected: string | undefined;

  function current() {
    const state = source.current();
    if (state && last?.state !== state) last = { state, secrets: secretsOf(state) };
    return state && last;
  }

  function onRejected(secrets: readonly Secret[]): void {
    const what = secrets.map(({ name, version }) => `${name} (version ${version})`).join(', ');
    if (what === rejected) return;
    rejected = what;
    onProblem(
      new KubespiffeError('SECRET_REJECTED', `Envoy cannot use the secret ${what}; its log has the reason`),
    );
  }

  const serve = (subscribe: (onRejected: (secrets: readonly Secret[]) => void) => Subscription) => {
    return (call: Call) => {
      const subscription = subscribe(onRejected);
      let isBlocked = false;
      let isOver = false;
      const refuse = (refusal: Refusal) => {
        end();
        isOver = true;
        call.emit('error', refusal);
      };
      const send = () => {
        if (isOver || call.cancelled) return;
        const known = current();
        if (!known) return refuse(refusals.notReady);
        const missing = subscription.names().find((name) => !known.secrets.has(name));
        if (missing !== undefined) return refuse(refusalOf(missing, known));
        if (isBlocked) return;
        const response = subscription.next(known.secrets);
        if (response) isBlocked = !call.write(response);
      };
      const end = source.onChange(send);
      call.on('data', (request) => {
        if (request.type_url !== '' && request.type_url !== secretType)
          return refuse(invalid(`type_url is not ${secretType}`));
        subscription.take(request);
        send();
      });
      call.on('drain', () => {
        isBlocked = false;
        send();
      });
      call.on('end', () => call.end());
      call.on('cancelled', end);
      call.on('close', end);
    };
  };

  return {
    service: createService(),
    streamSecrets: serve(worldSubscription),
    deltaSecrets: serve(deltaSubscription),
  };
}

/** The service of sds.proto, which is loaded with the first stream: pods without Envoy need no memory for it. */
function createService(): ServiceDefinition {
  const name = 'envoy.service.secret.v3.SecretDiscoveryService';
  let loaded: ServiceDefinition | undefined;
  const declared = (method: string) => {
    const options = { keepCase: true, defaults: true };
    loaded ??= loadSync(join(import.meta.dirname, 'sds.proto'), options)[name] as ServiceDefinition;
    return loaded[method] as ServiceDefinition[string];
  };
  const methodOf = (method: string): ServiceDefinition[string] => ({
    path: `/${name}/${method}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: (request) => declared(method).requestSerialize(request),
    requestDeserialize: (bytes) => declared(method).requestDeserialize(bytes),
    responseSerialize: (response) => declared(method).responseSerialize(response),
    responseDeserialize: (bytes) => declared(method).responseDeserialize(bytes),
  });
  return { StreamSecrets: methodOf('StreamSecrets'), DeltaSecrets: methodOf('DeltaSecrets') };
}

function refusalOf(
  missing: string,
  { state, secrets }: { readonly state: WorkloadState; readonly secrets: ReadonlyMap<string, Secret> },
): Refusal {
  if (state.svids.length === 0) return refusals.noIdentity;
  const known = [...secrets.keys()].toReversed().slice(0, 8).join(', ');
  return notFound(`there is no secret ${JSON.stringify(missing.slice(0, 256))}; this workload has ${known}`);
}
