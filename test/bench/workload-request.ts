/** JWTSVIDRequest with one audience (field 1 of workload-api.proto), which is shorter than 128 bytes. */
export function tokenRequest(audience: string): Uint8Array {
  return Buffer.concat([Buffer.of(0x0a, Buffer.byteLength(audience)), Buffer.from(audience)]);
}
