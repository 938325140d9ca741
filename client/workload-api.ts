import { KubespiffeError } from '../spiffe/errors.ts';
import { readDer, splitDer } from '../spiffe/pki/der.ts';
import { encodePem } from '../spiffe/pki/pem.ts';
import { failure, type Result, success } from '../spiffe/pki/result.ts';
import type { EndpointAddress } from './endpoint-address.ts';
import { callGrpc, type GrpcCall, type GrpcStatus, grpcCodes } from './grpc.ts';
import { type Fields, readFields, writeTexts } from './protobuf.ts';

/** Texts by the name of a trust domain: PEM roots or JWK sets. One that cannot be read does not affect the others. */
export type ReceivedBundles = ReadonlyMap<string, Result<string>>;

/** An X509-SVID of the workload, as it arrived. */
export interface ReceivedSvid {
  readonly spiffeId: string;
  /** Private key, leaf and intermediates; PEM. */
  readonly credentialsPem: Result<string>;
  /** The roots of its trust domain; PEM. */
  readonly rootsPem: Result<string>;
  readonly hint: string;
}

/** What FetchX509SVID sends (SPIFFE Workload API 5.2.1). */
export interface ReceivedX509 {
  /** The first one is the default. */
  readonly svids: readonly ReceivedSvid[];
  readonly federated: ReceivedBundles;
}

export interface ReceivedToken {
  /** A secret. */
  readonly token: string;
  readonly hint: string;
}

/** A streaming method and what its responses are. */
export interface StreamMethod<T> {
  readonly name: string;
  readonly read: (message: Buffer) => Result<T>;
}

export const fetchX509Svid: StreamMethod<ReceivedX509> = { name: 'FetchX509SVID', read: readX509 };

export const fetchX509Bundles: StreamMethod<ReceivedBundles> = {
  name: 'FetchX509Bundles',
  read: (message) => mapOf(message, 2, pemOf),
};

export const fetchJwtBundles: StreamMethod<ReceivedBundles> = {
  name: 'FetchJWTBundles',
  read: (message) => mapOf(message, 1, (jwks) => success(jwks.toString('utf8'))),
};

/** Calls a method of the Workload API that sends a response for each change. */
export function openStream<T>(
  address: EndpointAddress,
  { name, read }: StreamMethod<T>,
  onResponse: (response: Result<T>) => void,
  signal: AbortSignal,
): GrpcCall {
  return call(address, name, Buffer.alloc(0), (message) => onResponse(read(message)), signal);
}

/**
 * Gets a token for each identity of the workload (SPIFFE Workload API 6.2.1).
 * @throws KubespiffeError WORKLOAD_API_UNAVAILABLE
 */
export async function fetchJwtSvids(
  address: EndpointAddress,
  audiences: readonly string[],
  signal: AbortSignal,
): Promise<readonly ReceivedToken[]> {
  const responses: Result<ReceivedToken[]>[] = [];
  const request = writeTexts(audiences.map((audience) => [1, audience]));
  const read = (message: Buffer) => responses.push(readTokens(message));
  const status = await call(address, 'FetchJWTSVID', request, read, signal).status;
  if (status.code !== grpcCodes.ok) throw callFailed(address, 'FetchJWTSVID', status);
  const [response = failure('it is empty')] = responses;
  if (response.ok) return response.value;
  throw unusable(address, 'FetchJWTSVID', response.reason);
}

/** The error for a call that ended with another status than it should. */
export function callFailed(address: EndpointAddress, method: string, status: GrpcStatus): KubespiffeError {
  const name = Object.entries(grpcCodes).find(([, code]) => code === status.code)?.[0];
  return apiError(`${method} at ${address.uri}: ${status.details} (${name ?? `gRPC status ${status.code}`})`);
}

export function unusable(address: EndpointAddress, method: string, reason: string): KubespiffeError {
  return apiError(`${method} at ${address.uri} sent a response that cannot be used: ${reason}`);
}

export const apiError = (message: string): KubespiffeError =>
  new KubespiffeError('WORKLOAD_API_UNAVAILABLE', message);

function call(
  address: EndpointAddress,
  name: string,
  message: Buffer,
  onMessage: (message: Buffer) => void,
  signal: AbortSignal,
): GrpcCall {
  const metadata = { 'workload.spiffe.io': 'true' };
  return callGrpc({ address, path: `/SpiffeWorkloadAPI/${name}`, metadata, message }, onMessage, signal);
}

function readX509(message: Buffer): Result<ReceivedX509> {
  const svids = messagesOf(message, 1);
  if (!svids.ok) return svids;
  const federated = mapOf(message, 3, pemOf);
  if (!federated.ok) return federated;
  return success({ svids: svids.value.map(readSvid), federated: federated.value });
}

function readSvid(fields: Fields): ReceivedSvid {
  const chain = pemOf(bytesOf(fields, 2));
  return {
    spiffeId: textOf(fields, 1),
    credentialsPem: chain.ok
      ? success(encodePem('PRIVATE KEY', bytesOf(fields, 3)) + chain.value)
      : failure(`its chain cannot be read: ${chain.reason}`),
    rootsPem: pemOf(bytesOf(fields, 4)),
    hint: textOf(fields, 5),
  };
}

function readTokens(message: Buffer): Result<ReceivedToken[]> {
  const svids = messagesOf(message, 1);
  if (!svids.ok) return svids;
  return success(svids.value.map((fields) => ({ token: textOf(fields, 2), hint: textOf(fields, 3) })));
}

/** A map whose keys are the SPIFFE IDs of trust domains; some servers send their names. */
function mapOf(
  message: Buffer,
  number: number,
  convert: (value: Buffer) => Result<string>,
): Result<ReceivedBundles> {
  const entries = messagesOf(message, number);
  if (!entries.ok) return entries;
  return success(
    new Map(
      entries.value.map((fields) => [
        textOf(fields, 1).replace(/^spiffe:\/\//, ''),
        convert(bytesOf(fields, 2)),
      ]),
    ),
  );
}

/** The messages in a repeated field. */
function messagesOf(message: Buffer, number: number): Result<Fields[]> {
  const outer = readFields(message);
  if (!outer.ok) return outer;
  const inner: Fields[] = [];
  for (const bytes of outer.value.get(number) ?? []) {
    const fields = readFields(bytes);
    if (!fields.ok) return fields;
    inner.push(fields.value);
  }
  return success(inner);
}

/** If a field occurs several times, the last one counts. */
const bytesOf = (fields: Fields, number: number): Buffer => fields.get(number)?.at(-1) ?? Buffer.alloc(0);
const textOf = (fields: Fields, number: number): string => bytesOf(fields, number).toString('utf8');

/** DER certificates one after another as PEM. */
function pemOf(der: Buffer): Result<string> {
  const certificates = readDer(() => splitDer(der));
  if (!certificates.ok) return certificates;
  return success(certificates.value.map((each) => encodePem('CERTIFICATE', each)).join(''));
}
