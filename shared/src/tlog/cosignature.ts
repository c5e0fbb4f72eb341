/**
 * Cosignatures of witnesses, version 1 (C2SP tlog-cosignature, "Ed25519 signed message"):
 *
 *   message    "cosignature/v1\n" || "time " || POSIX seconds in decimal || "\n" || the note's text
 *   signature  POSIX seconds[u64be] || Ed25519 over the message[64]
 */
import { concatBytes, u64Bytes, u64FromBytes, utf8 } from '../bytes.ts';

/** "It MUST NOT exceed 2^63 - 1." */
const MAX_TIME_SECONDS = 2n ** 63n - 1n;

export interface Cosignature {
  readonly timeSeconds: bigint;
  readonly signature: Uint8Array;
}

/** What a witness signs for the text of a checkpoint. */
export function cosignatureMessage(text: string, timeSeconds: bigint): Uint8Array {
  if (timeSeconds < 0n || timeSeconds > MAX_TIME_SECONDS) throw new RangeError('not a time of a cosignature');
  return utf8(`cosignature/v1\ntime ${timeSeconds}\n${text}`);
}

/** The bytes that stand behind the key id in the signature line. */
export function cosignatureBytes({ timeSeconds, signature }: Cosignature): Uint8Array {
  if (timeSeconds < 0n || timeSeconds > MAX_TIME_SECONDS) throw new RangeError('not a time of a cosignature');
  return concatBytes(u64Bytes(timeSeconds), signature);
}

/** Undefined if the bytes are not of that form. */
export function readCosignature(bytes: Uint8Array): Cosignature | undefined {
  if (bytes.length !== 8 + 64) return undefined;
  const timeSeconds = u64FromBytes(bytes.subarray(0, 8));
  return timeSeconds > MAX_TIME_SECONDS ? undefined : { timeSeconds, signature: bytes.subarray(8) };
}
