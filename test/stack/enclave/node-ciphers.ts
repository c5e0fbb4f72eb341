/** v2's ciphers for machines without a C compiler. Same results as the addon's; Node's buffers are not ours to wipe. */
import { createDecipheriv, scryptSync } from 'node:crypto';
import type { LegacyCiphers } from '@quantumvault/enclave/migration/legacy-keys.ts';

export const nodeLegacyCiphers: LegacyCiphers = {
  openGcm(key, iv, ciphertext, tag, plaintext) {
    let opened: Buffer | undefined;
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 });
      decipher.setAuthTag(tag);
      opened = decipher.update(ciphertext);
      decipher.final();
      opened.copy(plaintext);
      return true;
    } catch {
      plaintext.fill(0);
      return false;
    } finally {
      opened?.fill(0);
    }
  },
  scrypt(secret, salt, { n, r, p }, key) {
    const derived = scryptSync(secret, salt, 32, { N: n, r, p, maxmem: 66 * 1024 * 1024 });
    derived.copy(key);
    derived.fill(0);
    return true;
  },
};
