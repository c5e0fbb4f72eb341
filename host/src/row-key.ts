/**
 * One row key of the fleet, and the record by which one follows another. A key is known by the first 8 bytes of the
 * SHA-256 of its KMS blob, which stand in front of each MAC made with it: so a host knows which key it would need, and
 * the database refuses what was sealed under a key that is being replaced (store/row-key-fence.ts).
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes } from '@quantumvault/shared/bytes.ts';
import { decodeAs, encodeAs, field, fixed, purposeStruct, time } from '@quantumvault/shared/protocol/wire.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';

export const ROW_KEY_ID_BYTES = 8;
export const MAC_BYTES = 32;

export function rowKeyId(blob: Uint8Array): Uint8Array {
  return sha256(blob).subarray(0, ROW_KEY_ID_BYTES);
}

/** Holds the key. Made with the enclave's bytes, which it takes over; nothing gives them out again. */
export class RowKey {
  /** The KMS ciphertext that it came from. */
  readonly blob: Uint8Array;
  readonly id: Uint8Array;
  readonly #key: Secret;

  /** @throws RangeError unless it has 32 bytes */
  constructor(rowKey: Uint8Array, blob: Uint8Array) {
    if (rowKey.length !== MAC_BYTES) throw new RangeError('the row key has 32 bytes');
    this.#key = Secret.take(rowKey);
    this.blob = blob;
    this.id = rowKeyId(blob);
  }

  /** HMAC-SHA-256. @throws QvError secret_exposed once it is wiped */
  mac(encoded: Uint8Array): Uint8Array {
    return this.#key.use((key) => new Uint8Array(createHmac('sha256', key).update(encoded).digest()));
  }

  /** For good; whoever made it calls this. */
  wipe(): void {
    this.#key.wipe();
  }
}

/** Who followed whom, by the SHA-256 of their blobs, and since when rows are sealed under the later one. */
const stepCodec = purposeStruct('qv/row-key-step/v1', {
  from: field(1, fixed(32)),
  to: field(2, fixed(32)),
  at: field(3, time),
});

export interface RowKeyStep {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly at: TimeMs;
}

/**
 * The record of a step: its encoding, then its MACs under the earlier and the later key. Only who has the earlier one
 * names a follower, and the later one's says to a host that never had the earlier one that this is how it ended.
 */
export function sealStep(from: RowKey, to: RowKey, at: TimeMs): Uint8Array {
  const encoded = encodeAs(stepCodec, { from: sha256(from.blob), to: sha256(to.blob), at });
  return concatBytes(encoded, from.mac(encoded), to.mac(encoded));
}

/** The step, if that key's MAC in it holds, as the earlier one or as the later one. */
export function openStep(record: Uint8Array | undefined, end: 'from' | 'to', key: RowKey): RowKeyStep | undefined {
  if (record === undefined || record.length <= 2 * MAC_BYTES) return undefined;
  const encoded = record.subarray(0, -2 * MAC_BYTES);
  const macs = record.subarray(-2 * MAC_BYTES);
  const mac = end === 'from' ? macs.subarray(0, MAC_BYTES) : macs.subarray(MAC_BYTES);
  if (!timingSafeEqual(mac, key.mac(encoded))) return undefined;
  try {
    const step = decodeAs(stepCodec, encoded, 'step');
    return equalBytes(step[end], sha256(key.blob)) ? step : undefined;
  } catch {
    // A MAC of ours over something else, moved here.
    return undefined;
  }
}
