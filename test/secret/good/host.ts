// read as host/src/anything.ts
import { createHash, createHmac, createPrivateKey, timingSafeEqual } from 'node:crypto';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { Secret } from '@quantumvault/shared/secret.ts';

interface Login {
  readonly name: string;
  readonly secret: Secret;
}

export class Macs {
  readonly #keys: readonly Secret[];
  #last: Secret | undefined;

  constructor(keys: readonly Secret[]) {
    this.#keys = keys;
    this.#last = keys[0];
  }

  get length(): number {
    return this.#keys.length;
  }

  macs(message: Uint8Array): string[] {
    return this.#keys.map((key) => toHex(this.#mac(key, message)));
  }

  #mac(key: Secret, message: Uint8Array): Uint8Array {
    return key.use((bytes) => new Uint8Array(createHmac('sha256', bytes).update(message).digest()));
  }

  isFirst(other: Secret): boolean {
    return this.#last?.equals(other) === true;
  }

  holds(given: Uint8Array): boolean {
    let isRight = false;
    for (const key of this.#keys)
      if (key.use((bytes) => bytes.length === given.length && timingSafeEqual(bytes, given))) isRight = true;
    return isRight;
  }

  close(): void {
    for (const key of this.#keys) key.wipe();
    this.#last?.wipe();
    this.#last = undefined;
    console.log(`${this.#keys.length} keys wiped`, this.#keys.length);
  }
}

export function told({ name, secret }: Login): string {
  console.log(name, secret.length);
  return `${name} has ${secret.length} bytes`;
}

export function handle(secret: Secret): string {
  const key = secret.use((bytes) => createPrivateKey({ key: Buffer.from(bytes.buffer), format: 'der', type: 'pkcs8' }));
  return key.asymmetricKeyType ?? '';
}

export function moved(bytes: Uint8Array): Secret {
  const secret = Secret.take(bytes);
  const half = new Secret(new ArrayBuffer(16));
  secret.use((from) => half.use((into) => into.set(from.subarray(0, 16))));
  secret.wipe();
  return half;
}

export function digest(secret: Secret): Uint8Array {
  return secret.use((bytes) => createHash('sha256').update(bytes).digest());
}

/** Names alone are none where no file is named for them. */
export function seeds(seed: Uint8Array, executionKey: Uint8Array): string {
  return toHex(seed) + toHex(executionKey);
}
