// read as enclave/src/vault.ts
import { toHex } from '@quantumvault/shared/bytes.ts';
import sodium from 'sodium-native';

class Region {
  readonly #memory = sodium.sodium_malloc(64);

  open<T>(use: (memory: Buffer) => T): T {
    return use(this.#memory);
  }

  get all(): Buffer {
    return this.#memory; // flagged: handed out
  }
}

const work = new Region();

export function sign(message: Uint8Array): string {
  const signature = Buffer.alloc(64);
  work.open((bytes) => {
    sodium.crypto_sign_detached(signature, message, bytes);
    console.log(bytes); // flagged: logged
  });
  return toHex(signature);
}

export function layout(parts: { walletKey: Buffer; name: string }): string {
  console.log(parts.name);
  return parts.walletKey.toString('hex'); // flagged: turned into text
}

export function named(seed: Uint8Array, executionKey: Uint8Array, found: Record<string, Uint8Array>): boolean {
  const { policyKey } = found;
  console.log(policyKey); // flagged: logged
  console.log(found['stateKey']); // flagged: logged
  return seed[0] === executionKey[0]; // flagged: compared in a time that tells
}
