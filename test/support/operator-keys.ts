/** The local stack's test operators: three of them, of whom two are needed. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addressOf, signature } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { renderResumeStatement, type SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import type { Party } from './wallet-kit.ts';

export function operators(dir: string): readonly Party[] {
  return [1, 2, 3].map((index) => {
    const key = createPrivateKey(readFileSync(join(dir, 'operators', `${index}.pem`)));
    const publicKey = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
    return {
      address: addressOf(new Uint8Array(publicKey)),
      sign: (message) => signature(new Uint8Array(sign(null, message, key))),
    };
  });
}

export const signedBy = (message: Uint8Array, ...signers: readonly Party[]): readonly SignedBy[] =>
  signers.map((signer) => ({ key: signer.address, signature: signer.sign(message) }));

export const resumeSignatures = (
  facts: Parameters<typeof renderResumeStatement>[0],
  ...signers: readonly Party[]
): readonly SignedBy[] => signedBy(utf8(renderResumeStatement(facts)), ...signers);
