/** SLIP-0010 for Ed25519: private keys from a seed, along hardened steps. */

import { type HashMemory, HmacSha512 } from './sha512.ts';
import type { Sodium } from './sodium.ts';
import type { WorkMemory } from './work-memory.ts';

/** "Curve = 'ed25519 seed' for the ed25519 curve": the HMAC key of the master node. */
const CURVE = new TextEncoder().encode('ed25519 seed');

export type NodeMemory = HashMemory & Pick<WorkMemory, 'node' | 'step'>;

/**
 * Leaves key and chain code, 32 bytes each, in `part.node`.
 * @param indexes with the hardened bit
 */
export function deriveNode(sodium: Sodium, seed: Uint8Array, indexes: readonly number[], part: NodeMemory): void {
  const { node, step } = part;
  new HmacSha512(sodium, CURVE, part).mac(seed, node);
  for (const index of indexes) {
    // 0x00 || key || index, under the chain code.
    step[0] = 0;
    step.set(node.subarray(0, 32), 1);
    step.writeUInt32BE(index, 33);
    new HmacSha512(sodium, node.subarray(32), part).mac(step, node);
  }
}
