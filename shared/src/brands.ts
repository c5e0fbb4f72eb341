/** Branded types: parsed once at the edge, trusted inside. */
import { fromBase58, toBase58 } from './base58.ts';

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A Solana address or Ed25519 public key in base58: the decoded form is 32 bytes. */
export type Address = Branded<string, 'Address'>;
/** [A-Za-z0-9_-]{1,64} */
export type RequestId = Branded<string, 'RequestId'>;
/** 32 bytes: SHA-256. */
export type Hash = Branded<Uint8Array, 'Hash'>;
/** 64 bytes: Ed25519. */
export type Signature = Branded<Uint8Array, 'Signature'>;
/** Milliseconds since 1970, from trusted time where the enclave says it. */
export type TimeMs = Branded<number, 'TimeMs'>;
/** The boot key's 32 public bytes in base58: one start of one enclave. */
export type BootId = Branded<string, 'BootId'>;

/** @throws QvError base58_malformed */
export function address(text: string, path?: string): Address {
  fromBase58(text, 32, path);
  return text as Address;
}

export function addressOf(bytes: Uint8Array): Address {
  if (bytes.length !== 32) throw new RangeError('an address has 32 bytes');
  return toBase58(bytes) as Address;
}

export function addressBytes(value: Address | BootId): Uint8Array {
  return fromBase58(value, 32);
}

export function bootIdOf(publicKey: Uint8Array): BootId {
  return addressOf(publicKey) as string as BootId;
}

export function timeMs(value: number): TimeMs {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('not a time');
  return value as TimeMs;
}

export function hash(bytes: Uint8Array): Hash {
  if (bytes.length !== 32) throw new RangeError('a SHA-256 has 32 bytes');
  return bytes as Hash;
}

export function signature(bytes: Uint8Array): Signature {
  if (bytes.length !== 64) throw new RangeError('an Ed25519 signature has 64 bytes');
  return bytes as Signature;
}
