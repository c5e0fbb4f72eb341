// read as host/src/anything.ts
import { hash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Secret } from '@quantumvault/shared/secret.ts';

export class Keeper {
  last: Uint8Array | undefined;
  #own: Uint8Array | undefined;

  keep(secret: Secret, shared: { last?: Uint8Array }): void {
    secret.use((bytes) => {
      this.last = bytes; // flagged: kept where others see it
      shared.last = bytes.subarray(1); // flagged: kept where others see it
      this.#own = bytes;
    });
  }

  give(): Uint8Array | undefined {
    return this.#own; // flagged: handed out
  }
}

export function returned(secret: Secret): Uint8Array {
  return secret.use((bytes) => bytes); // flagged: returned by what it was lent to
}

export function inAnObject(secret: Secret): { bytes: Uint8Array } {
  return secret.use((bytes) => {
    return { bytes: bytes.subarray(2) }; // flagged: returned by what it was lent to
  });
}

export function late(secret: Secret): unknown {
  return secret.use(async (bytes) => bytes.fill(0)); // flagged: lent to what has not ended // flagged: returned by what it was lent to
}

export function thrown(secret: Secret): void {
  secret.use((bytes) => {
    throw bytes; // flagged: handed out
  });
}

export function outside(secret: Secret): Uint8Array | undefined {
  let kept: Uint8Array | undefined;
  secret.use((bytes) => {
    kept = bytes;
  });
  return kept; // flagged: handed out
}

export function copiedOut(secret: Secret): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(32));
  secret.use((bytes) => copy.set(bytes));
  return copy; // flagged: handed out
}

export function written(secret: Secret, path: string): void {
  secret.use((bytes) => writeFileSync(path, bytes)); // flagged: handed to writeFileSync, of which nothing is known
  secret.use((bytes) => hash('sha256', bytes)); // flagged: handed to hash, of which nothing is known
}

export function* stepwise(secret: Secret): Generator<Secret> {
  yield secret; // flagged: handed out
}

export function patterns(secret: Secret, keeper: Keeper, foreign: Map<string, Uint8Array>): void {
  secret.use((bytes) => {
    [keeper.last] = [bytes]; // flagged: kept where others see it
    ({ a: keeper.last } = { a: bytes }); // flagged: kept where others see it
    foreign.set('a', bytes); // flagged: written to where it is not followed
    globalThis.process.env['a'] = bytes as never; // flagged: kept where others see it
  });
}

export function filled(secret: Secret, into: Buffer): void {
  secret.use((bytes) => into.set(bytes)); // flagged: written to where it is not followed
  secret.use((bytes) => (bytes as Buffer).copy(into)); // flagged: written to where it is not followed
}

export const made = Secret.take(new Uint8Array(32));
