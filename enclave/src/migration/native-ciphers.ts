/** v2's ciphers as the C addon has them: OpenSSL, from ciphertext to guarded memory in one call. */
import type { Native } from '@quantumvault/shared/native.ts';
import type { LegacyCiphers } from './legacy-keys.ts';

export function nativeLegacyCiphers(native: Native): LegacyCiphers {
  return {
    openGcm: (key, iv, ciphertext, tag, plaintext) => native.legacyOpen(key, iv, ciphertext, tag, plaintext) === 0,
    scrypt: (secret, salt, { n, r, p }, key) => native.legacyScrypt(secret, salt, n, r, p, key) === 0,
  };
}
