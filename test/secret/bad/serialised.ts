// read as host/src/anything.ts
import { serialize } from 'node:v8';
import { parentPort } from 'node:worker_threads';
import { encodeCbor } from '@quantumvault/shared/cbor.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

export function ofBytes(secret: Secret): void {
  secret.use((bytes) => JSON.stringify([...bytes])); // flagged: serialised
  secret.use((bytes) => encodeCbor(bytes)); // flagged: serialised
  secret.use((bytes) => encodeCbor(new Map([[1, bytes]]))); // flagged: handed to Map, of which nothing is known
  secret.use((bytes) => structuredClone({ bytes })); // flagged: serialised
  secret.use((bytes) => serialize(bytes)); // flagged: serialised
  secret.use((bytes) => parentPort?.postMessage(bytes)); // flagged: serialised
  secret.use((bytes) => Object.values(bytes)); // flagged: enumerated
  secret.use((bytes) => {
    for (const index in bytes) return index; // flagged: enumerated
    return undefined;
  });
}

export function ofSecrets(secret: Secret, others: ReadonlyMap<string, Secret>): unknown[] {
  return [
    JSON.stringify({ secret }), // flagged: serialised
    JSON.stringify([...others]), // flagged: serialised
    structuredClone(secret), // flagged: serialised
    Object.keys(secret), // flagged: enumerated
    Object.assign({}, secret), // flagged: enumerated
    secret.toJSON(), // flagged: serialised
  ];
}
