/** Where a sweep goes. What is no wallet at all is refused; whether the owner's wallet it is, he reads and signs. */
import type { Address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { PROGRAM_NAMES, WRAPPED_SOL_MINT } from '@quantumvault/shared/solana/programs.ts';

/** @throws QvError usage_invalid */
export function requireOther(wallet: Address, destination: Address): Address {
  const wrong = (value: string): QvError => new QvError('usage_invalid', { value });
  if (destination === wallet) throw wrong('--to is the wallet itself');
  if (PROGRAM_NAMES.has(destination) || destination === WRAPPED_SOL_MINT) throw wrong('--to is no wallet');
  return destination;
}
