/** Operators: M of N keys, measured into the image (design 1, 8). */
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { verifyEd25519 } from './vault.ts';

export interface Operators {
  readonly threshold: number;
  readonly keys: readonly Address[];
}

/**
 * Each key counts once, whoever's signatures stand beside it.
 * @param required the threshold, unless fewer are enough for this purpose
 * @returns those who signed
 * @throws QvError operators_too_few
 */
export function requireOperators(
  { keys, threshold }: Operators,
  signatures: readonly SignedBy[],
  message: Uint8Array,
  required = threshold,
): readonly Address[] {
  const signers = keys.filter((operator) =>
    signatures.some(
      ({ key, signature }) => key === operator && verifyEd25519(signature, message, addressBytes(operator)),
    ),
  );
  if (signers.length < required) throw new QvError('operators_too_few', { value: `${signers.length} of ${required}` });
  return signers;
}
