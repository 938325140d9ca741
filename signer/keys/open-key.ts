import type { KeyObject } from 'node:crypto';
import type { SignatureAlgorithm } from '../../spiffe/pki/algorithms.ts';
import type { KeyRef } from './key-ref.ts';

/** A key of a backend that was found and may be used. */
export interface OpenKey {
  /**
   * Signs a digest.
   *
   * @returns the content of the signature BIT STRING, for ECDSA in DER.
   * @throws an Error that says what went wrong, without secrets.
   */
  sign(digest: Uint8Array, algorithm: SignatureAlgorithm): Promise<Uint8Array>;
  /** The public half as the backend has it, for the tools that make certificates. */
  publicKey(): Promise<KeyObject>;
  /** Gives sessions and connections back. The key is not used after that. */
  close(): void;
}

/** Finds a key and prepares it for use. @throws why it cannot be used, as a sentence without secrets. */
export type Opener = (ref: KeyRef, signal: AbortSignal) => Promise<OpenKey>;
