// read as host/src/anything.ts
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

export function ofBytes(secret: Secret, given: Buffer): boolean[] {
  return [
    secret.use((bytes) => equalBytes(bytes, given)), // flagged: compared in a time that tells
    secret.use((bytes) => equalBytes(given, bytes.subarray(1))), // flagged: compared in a time that tells
    secret.use((bytes) => Buffer.compare(bytes, given) === 0), // flagged: compared in a time that tells
    secret.use((bytes) => given.equals(bytes)), // flagged: compared in a time that tells
    secret.use((bytes) => given.compare(bytes) === 0), // flagged: compared in a time that tells
    secret.use((bytes) => given.includes(bytes as Buffer)), // flagged: compared in a time that tells
    secret.use((bytes) => bytes.indexOf(7) === 0), // flagged: compared in a time that tells
    secret.use((bytes) => bytes[0] === given[0]), // flagged: compared in a time that tells
    secret.use((bytes) => (bytes[0] ?? 0) < 7), // flagged: compared in a time that tells
    secret.use((bytes) => bytes.every((byte, index) => byte === given[index])), // flagged: handed to .every(), of which nothing is known // flagged: compared in a time that tells
  ];
}

export function ofSecrets(secret: Secret, other: Secret): boolean {
  return secret === other; // flagged: compared in a time that tells
}

export function byCase(secret: Secret): number {
  return secret.use(([first]) => {
    switch (first) {
      // flagged on the line before: compared in a time that tells
      case 1:
        return 1;
      default:
        return 0;
    }
  });
}
