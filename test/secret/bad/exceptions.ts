// read as host/src/anything.ts
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

export function excepted(secret: Secret): string[] {
  return [
    // secret-rule: only these bytes go to the person who made them
    secret.use((bytes) => toHex(bytes)),
    // secret-rule:
    // flagged on the line before: exception without a reason
    // flagged on the line before that: exception for nothing
    secret.use((bytes) => toHex(bytes)), // flagged: turned into text
    // secret-rule: nothing here needs one
    // flagged on the line before: exception for nothing
    String(secret.length),
  ];
}
