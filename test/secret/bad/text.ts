// read as host/src/anything.ts
import { inspect } from 'node:util';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

const decoder = new TextDecoder();

export function ofBytes(secret: Secret): unknown[] {
  return [
    secret.use((bytes) => bytes.toString()), // flagged: turned into text
    secret.use((bytes) => String(bytes)), // flagged: turned into text
    secret.use((bytes) => `${bytes}`), // flagged: turned into text
    secret.use((bytes) => `${bytes[0]}`), // flagged: turned into text
    // biome-ignore lint/style/useTemplate: what the rule is to find
    secret.use((bytes) => bytes + ''), // flagged: turned into text
    secret.use((bytes) => decoder.decode(bytes)), // flagged: turned into text
    secret.use((bytes) => new TextDecoder('latin1').decode(bytes)), // flagged: turned into text
    secret.use((bytes) => toHex(bytes)), // flagged: turned into text
    secret.use((bytes) => toHex(bytes.subarray(0, 4))), // flagged: turned into text
    secret.use((bytes) => toBase64(bytes)), // flagged: turned into text
    secret.use((bytes) => toBase58(bytes)), // flagged: turned into text
    secret.use((bytes) => bytes.join()), // flagged: turned into text
    secret.use((bytes) => inspect(bytes)), // flagged: turned into text
    secret.use((bytes) => String.fromCharCode(...bytes)), // flagged: turned into text
    secret.use((bytes) => Buffer.from(bytes.buffer).toString('hex')), // flagged: turned into text
    secret.use(toHex), // flagged: turned into text
    secret.use(String), // flagged: turned into text
  ];
}

export function ofSecrets(secret: Secret, list: readonly Secret[]): unknown[] {
  let text = 'x';
  text += secret; // flagged: turned into text
  return [
    text,
    secret.toString(), // flagged: turned into text
    String(secret), // flagged: turned into text
    `${secret}`, // flagged: turned into text
    // biome-ignore lint/style/useTemplate: what the rule is to find
    secret + '', // flagged: turned into text
    list.join(), // flagged: turned into text
    list.map((each) => `${each}`), // flagged: turned into text
  ];
}

export function loops(secret: Secret): string {
  let text = '';
  secret.use((bytes) => {
    for (const byte of bytes) {
      text += byte.toString(16); // flagged: turned into text
    }
  });
  return text;
}
