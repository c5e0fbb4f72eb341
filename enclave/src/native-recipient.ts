/** Recipient keys as the C addon makes and uses them: OpenSSL, from ciphertext to guarded memory in one call. */
import { type Native, systemError } from '@quantumvault/shared/native.ts';
import type { RecipientKeys } from './vault.ts';

export function nativeRecipientKeys(native: Native): RecipientKeys {
  return {
    async generate() {
      const pair = await native.recipientKey();
      if (typeof pair === 'number') throw systemError('recipientKey', pair);
      const spki = native.recipientSpki(pair);
      if (typeof spki === 'number') throw systemError('recipientSpki', spki);
      return {
        spki,
        open: ({ encryptedKey, iv, ciphertext }, work) =>
          native.recipientOpen(pair, encryptedKey, iv, ciphertext, work) === 0,
        drop: () => native.recipientDrop(pair),
      };
    },
  };
}
