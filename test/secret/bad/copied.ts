// read as host/src/anything.ts
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

export function copies(secret: Secret): number {
  return secret.use((bytes) => {
    const copied = [
      Uint8Array.from(bytes), // flagged: copied to where V8 moves it about
      new Uint8Array(bytes), // flagged: copied to where V8 moves it about
      Buffer.from(bytes), // flagged: copied to where V8 moves it about
      Buffer.concat([bytes]), // flagged: copied to where V8 moves it about
      concatBytes(bytes, bytes), // flagged: copied to where V8 moves it about
      Array.from(bytes), // flagged: copied to where V8 moves it about
      bytes.slice(1), // flagged: copied to where V8 moves it about
      bytes.map(() => 0), // flagged: copied to where V8 moves it about
    ];
    return copied.length;
  });
}
