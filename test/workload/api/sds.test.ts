import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  type Client,
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type EndpointAddress, parseEndpointAddress } from '../../../client/endpoint-address.ts';
import { listen } from '../../../workload/api/listen.ts';
import { createWorkloadApi } from '../../../workload/api/server.ts';
import type { ApiX509Svid, WorkloadState } from '../../../workload/api/state.ts';
import { freePorts } from '../../cluster/ports.ts';
import { waitFor } from '../../cluster/process.ts';
import { createWorkload, issueSvid, makeTrustDomain, stateOf, type TestTrustDomain } from './workload.ts';

const secretType = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';

interface SecretMessage {
  readonly name: string;
  readonly tls_certificate?: {
    readonly certificate_chain: { readonly inline_string: string };
    readonly private_key: { readonly inline_string: string };
  };
  readonly validation_context?: {
    readonly custom_validator_config: {
      readonly typed_config: {
        readonly value: {
          readonly trust_domains: readonly {
            readonly name: string;
            readonly trust_bundle: { readonly inline_string: string };
          }[];
        };
      };
    };
  };
}
type Resource = { readonly type_url: string; readonly value: SecretMessage };
interface Response {
  readonly nonce: string;
  readonly version_info?: string;
  readonly resources: readonly (Resource & { readonly resource: Resource; readonly version: string })[];
}
type Form = 'StreamSecrets' | 'DeltaSecrets';
type Stream = ClientDuplexStream<object, Response>;
type SdsClient = Client & Record<Form, (metadata?: Metadata) => Stream>;

const loaded = loadPackageDefinition(
  loadSync(join(import.meta.dirname, '../../../workload/api/sds.proto'), { keepCase: true }),
) as unknown as {
  envoy: {
    service: {
      secret: { v3: { SecretDiscoveryService: new (address: string, secret: unknown) => SdsClient } };
    };
  };
};
const ApiClient = loaded.envoy.service.secret.v3.SecretDiscoveryService;

let folder: string;
let home: TestTrustDomain;
let partner: TestTrustDomain;
let svid: ApiX509Svid;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sds-'));
  home = await makeTrustDomain('example.org');
  partner = await makeTrustDomain('partner.example');
  svid = await issueSvid(home, '/ns/shop/sa/web');
});
after(() => rmSync(folder, { recursive: true }));

let count = 0;

/** Serves a workload until the test ends. */
async function serve(t: TestContext, state: WorkloadState | undefined, { maxStreams = 100, port = 0 } = {}) {
  count += 1;
  const uri = port === 0 ? `unix://${join(folder, `${count}.sock`)}` : `tcp://127.0.0.1:${port}`;
  const address = parseEndpointAddress(uri);
  assert.ok(address.ok);
  const workload = createWorkload(home, state);
  const problems: string[] = [];
  const stopping = new AbortController();
  const onProblem = ({ message }: Error) => void problems.push(message);
  const needs = { source: workload.source, onProblem, maxStreams };
  await listen(createWorkloadApi(needs), address.value as EndpointAddress, stopping.signal);
  const client = new ApiClient(port === 0 ? uri : uri.slice('tcp://'.length), credentials.createInsecure());
  t.after(() => {
    client.close();
    stopping.abort();
  });
  return { ...workload, client, problems };
}

/** A stream with what it has received so far. */
function open(client: SdsClient, form: Form, metadata = new Metadata()) {
  const call = client[form](metadata);
  const responses: Response[] = [];
  const ended = Promise.withResolvers<ServiceError>();
  call.on('data', (response: Response) => responses.push(response)).on('error', ended.resolve);
  const isDelta = form === 'DeltaSecrets';
  return {
    call,
    responses,
    ended: ended.promise,
    ask: (names: readonly string[], more: object = {}) =>
      call.write({
        type_url: secretType,
        ...(isDelta ? { resource_names_subscribe: names } : { resource_names: names }),
        ...more,
      }),
    /** What an Envoy sends after a response. */
    answer: (names: readonly string[], more: object = {}) =>
      call.write({
        type_url: secretType,
        response_nonce: responses.at(-1)?.nonce,
        ...(isDelta ? {} : { resource_names: names }),
        ...more,
      }),
    received: (number: number) =>
      waitFor(`response ${number}`, () => responses[number - 1], { everyMs: 5, timeoutMs: 5_000 }),
  };
}

const secretsIn = ({ resources }: Response): SecretMessage[] =>
  resources.map((each) => (each.resource ?? each).value);

const certificateIn = ({ tls_certificate }: SecretMessage) =>
  new X509Certificate(tls_certificate?.certificate_chain.inline_string ?? '');

/** The trust domains of a validation context, with the names in their roots. */
const trustDomainsIn = ({ validation_context }: SecretMessage) =>
  validation_context?.custom_validator_config.typed_config.value.trust_domains.map(
    ({ name, trust_bundle }) => [
      name,
      new X509Certificate(trust_bundle.inline_string).subjectAltName?.replace('URI:', ''),
    ],
  );

const ownContext = [['example.org', 'spiffe://example.org']];
const partnerContext = [['partner.example', 'spiffe://partner.example']];

for (const form of ['StreamSecrets', 'DeltaSecrets'] as const) {
  describe(`Envoy's Secret Discovery Service, ${form}`, () => {
    for (const name of ['default', 'spiffe://example.org/ns/shop/sa/web']) {
      it(`${form} gives the certificate with its key by the name ${name}`, async (t) => {
        const { client } = await serve(t, stateOf([svid], [home, partner]));
        const stream = open(client, form);
        stream.ask([name]);
        const [secret] = secretsIn(await stream.received(1));
        assert.equal(secret?.name, name);
        const leaf = certificateIn(secret);
        assert.equal(leaf.subjectAltName, `URI:${svid.spiffeId}, DNS:localhost`);
        const key = createPrivateKey(secret.tls_certificate?.private_key.inline_string ?? '');
        assert.ok(leaf.checkPrivateKey(key));
      });
    }

    for (const [name, expected] of [
      ['ROOTCA', ownContext],
      ['spiffe://example.org', ownContext],
      ['spiffe://partner.example', partnerContext],
      ['ALL', [...ownContext, ...partnerContext]],
    ] as const) {
      it(`${form} gives the roots of each trust domain for itself by the name ${name}`, async (t) => {
        const { client } = await serve(t, stateOf([svid], [partner, home]));
        const stream = open(client, form);
        stream.ask([name]);
        const [secret] = secretsIn(await stream.received(1));
        assert.equal(secret?.name, name);
        assert.deepEqual(trustDomainsIn(secret), expected);
      });
    }

    it(`${form} gives several SVIDs by their IDs, and the first one as the default`, async (t) => {
      const admin = await issueSvid(home, '/ns/shop/sa/admin', 'admin');
      const { client } = await serve(t, stateOf([svid, admin], [home]));
      const stream = open(client, form);
      stream.ask(['default', admin.spiffeId]);
      const seen = secretsIn(await stream.received(1)).map(
        (secret) => certificateIn(secret).subjectAltName?.split(', ')[0],
      );
      assert.deepEqual(seen, [`URI:${svid.spiffeId}`, `URI:${admin.spiffeId}`]);
    });

    it(`${form} sends a secret again when it changes, and no other`, async (t) => {
      const { client, become } = await serve(t, stateOf([svid], [home]));
      const certificate = open(client, form);
      const roots = open(client, form);
      certificate.ask(['default']);
      roots.ask(['ROOTCA']);
      await certificate.received(1);
      certificate.answer(['default']);
      await roots.received(1);
      roots.answer(['ROOTCA']);
      const next = await issueSvid(home, '/ns/shop/sa/web');
      become(stateOf([next], [home]));
      const [renewed] = secretsIn(await certificate.received(2));
      assert.equal(renewed && certificateIn(renewed).raw.equals(Buffer.concat(next.chain)), true);
      certificate.answer(['default']);
      become(stateOf([next], [await makeTrustDomain('example.org')]));
      await roots.received(2);
      assert.deepEqual([certificate.responses.length, roots.responses.length], [2, 2]);
    });

    it(`${form} gives further names on the same stream`, async (t) => {
      const { client } = await serve(t, stateOf([svid], [home]));
      const stream = open(client, form);
      stream.ask(['default']);
      const { nonce } = await stream.received(1);
      stream.ask(form === 'DeltaSecrets' ? ['ROOTCA'] : ['default', 'ROOTCA'], { response_nonce: nonce });
      const names = secretsIn(await stream.received(2)).map(({ name }) => name);
      assert.deepEqual(names, form === 'DeltaSecrets' ? ['ROOTCA'] : ['default', 'ROOTCA']);
    });

    it(`${form} reports once that Envoy rejects a secret, and sends the next one`, async (t) => {
      const { client, become, problems } = await serve(t, stateOf([svid], [home]));
      const stream = open(client, form);
      stream.ask(['default']);
      await stream.received(1);
      const error_detail = { code: 13 };
      stream.answer(['default'], { error_detail });
      stream.answer(['default'], { error_detail });
      await waitFor('the report', () => problems.length > 0);
      become(stateOf([await issueSvid(home, '/ns/shop/sa/web')], [home]));
      await stream.received(2);
      assert.equal(problems.length, 1);
      assert.match(
        problems[0] ?? '',
        /^Envoy cannot use the secret default \(version [\w-]{22}\); its log has/,
      );
    });

    it(`${form} refuses a name that the workload does not have, and lists the names that it has`, async (t) => {
      const { client } = await serve(t, stateOf([svid], [home]));
      const stream = open(client, form);
      stream.ask(['default', 'spiffe://example.org/ns/shop/sa/db']);
      const { code, details } = await stream.ended;
      assert.equal(code, status.NOT_FOUND);
      assert.match(
        details,
        /no secret "spiffe:\/\/example\.org\/ns\/shop\/sa\/db"; this workload has default, /,
      );
      assert.equal(stream.responses.length, 0);
    });

    it(`${form} refuses names that every object has, and huge ones, without repeating them`, async (t) => {
      const { client } = await serve(t, stateOf([svid], [home]));
      for (const name of ['constructor', '__proto__', '', 'x'.repeat(60_000), 'a\r\nb']) {
        const stream = open(client, form);
        stream.ask([name]);
        const { code, details } = await stream.ended;
        assert.deepEqual([code, details.length < 600], [status.NOT_FOUND, true]);
      }
    });

    it(`${form} ends the stream when a trust domain is no longer known`, async (t) => {
      const { client, become, listening } = await serve(t, stateOf([svid], [home, partner]));
      const stream = open(client, form);
      stream.ask(['spiffe://partner.example']);
      await stream.received(1);
      become(stateOf([svid], [home]));
      assert.equal((await stream.ended).code, status.NOT_FOUND);
      await waitFor('the end of the stream', () => listening() === 0);
    });

    it(`${form} refuses a request for another type of resource`, async (t) => {
      const { client } = await serve(t, stateOf([svid], [home]));
      const stream = open(client, form);
      stream.ask(['default'], { type_url: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' });
      assert.equal((await stream.ended).code, status.INVALID_ARGUMENT);
    });

    it(`${form} is denied to a workload without an identity, and unavailable before it is known`, async (t) => {
      const { client, become } = await serve(t, stateOf([], [home]));
      const denied = open(client, form);
      denied.ask(['default']);
      assert.equal((await denied.ended).code, status.PERMISSION_DENIED);
      become(undefined);
      const early = open(client, form);
      early.ask(['default']);
      assert.equal((await early.ended).code, status.UNAVAILABLE);
    });

    it(`${form} sends only the newest secret to a client that does not read`, async (t) => {
      const { client, become, listening } = await serve(t, stateOf([svid], [home]));
      const stream = open(client, form);
      stream.call.pause();
      stream.ask(['default']);
      await waitFor('the stream', () => listening() === 1);
      const big = Array.from({ length: 100 }, () => svid.chain).flat();
      for (let each = 0; each < 300; each += 1) {
        become(stateOf([{ ...svid, chain: big.slice(each % 2) }], [home]));
        await new Promise(setImmediate);
      }
      const last = await issueSvid(home, '/ns/shop/sa/web');
      become(stateOf([last], [home]));
      stream.call.resume();
      await waitFor('the newest', () => {
        const [secret] = secretsIn(stream.responses.at(-1) ?? ({ resources: [] } as never));
        return secret && certificateIn(secret).raw.equals(Buffer.concat(last.chain));
      });
      assert.ok(stream.responses.length < 150, `${stream.responses.length}`);
    });

    it(`a stream of ${form} counts towards the allowed streams, and a new one is possible after others end`, async (t) => {
      const { client, listening } = await serve(t, stateOf([svid], [home]), { maxStreams: 2 });
      const two = [open(client, form), open(client, form)];
      for (const stream of two) stream.ask(['default']);
      for (const stream of two) await stream.received(1);
      assert.equal((await open(client, form).ended).code, status.RESOURCE_EXHAUSTED);
      two[0]?.call.end();
      two[1]?.call.cancel();
      await waitFor('the end of the streams', () => listening() === 0);
      const next = open(client, form);
      next.ask(['default']);
      await next.received(1);
    });

    it(`${form} needs the header over TCP, where Unix permissions do not protect it`, async (t) => {
      const [port = 0] = await freePorts(1);
      const { client } = await serve(t, stateOf([svid], [home]), { port });
      const without = open(client, form);
      without.ask(['default']);
      assert.equal((await without.ended).code, status.INVALID_ARGUMENT);
      const metadata = new Metadata();
      metadata.set('workload.spiffe.io', 'true');
      const stream = open(client, form, metadata);
      stream.ask(['default']);
      await stream.received(1);
    });
  });
}

describe('state of the world', () => {
  it('StreamSecrets ignores the answer to an older response', async (t) => {
    const { client, become } = await serve(t, stateOf([svid], [home]));
    const stream = open(client, 'StreamSecrets');
    stream.ask(['default']);
    const { nonce } = await stream.received(1);
    become(stateOf([await issueSvid(home, '/ns/shop/sa/web')], [home]));
    await stream.received(2);
    stream.ask(['no such name'], { response_nonce: nonce });
    stream.ask(['ROOTCA'], { response_nonce: stream.responses[1]?.nonce });
    assert.deepEqual(
      secretsIn(await stream.received(3)).map(({ name }) => name),
      ['ROOTCA'],
    );
  });
});

describe('delta', () => {
  it('DeltaSecrets does not repeat a secret that Envoy has kept while it was not connected', async (t) => {
    const { client, become } = await serve(t, stateOf([svid], [home]));
    const first = open(client, 'DeltaSecrets');
    first.ask(['default', 'ROOTCA']);
    const { resources } = await first.received(1);
    first.call.end();
    become(stateOf([await issueSvid(home, '/ns/shop/sa/web')], [home]));
    const second = open(client, 'DeltaSecrets');
    second.ask(['default', 'ROOTCA'], {
      initial_resource_versions: Object.fromEntries(
        resources.map(({ version, resource }) => [resource.value.name, version]),
      ),
    });
    assert.deepEqual(
      secretsIn(await second.received(1)).map(({ name }) => name),
      ['default'],
    );
  });

  it('DeltaSecrets does not send a name that is no longer wanted', async (t) => {
    const { client, become } = await serve(t, stateOf([svid], [home]));
    const stream = open(client, 'DeltaSecrets');
    stream.ask(['default', 'ROOTCA']);
    await stream.received(1);
    stream.call.write({ resource_names_unsubscribe: ['default'] });
    stream.ask(['ALL']);
    await stream.received(2);
    become(stateOf([await issueSvid(home, '/ns/shop/sa/web')], [await makeTrustDomain('example.org')]));
    assert.deepEqual(
      secretsIn(await stream.received(3)).map(({ name }) => name),
      ['ROOTCA', 'ALL'],
    );
  });
});
