/** Messages built from readable instructions, for the tests of the judge. */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import type { Message } from '@quantumvault/shared/solana/message.ts';
import { SYSTEM_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { littleEndianBytes } from '@quantumvault/shared/solana/reader.ts';
import { WALLET } from './cases.ts';

export interface Step {
  readonly program: string;
  readonly accounts: readonly string[];
  readonly data: Uint8Array;
}

export const u64 = (value: bigint): Uint8Array => littleEndianBytes(value, 8);
export const bytes = (...parts: readonly (number | string | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === 'number' ? [part] : [...(typeof part === 'string' ? fromHex(part) : part)],
    ),
  );

export const systemTransfer = (lamports: bigint, to: string, from = WALLET): Step => ({
  program: SYSTEM_PROGRAM,
  accounts: [from, to],
  data: bytes(2, 0, 0, 0, u64(lamports)),
});

/** A version 0 message whose fee payer and only signer is the wallet. */
export function messageOf(steps: readonly Step[]): Message {
  const keys: Address[] = [address(WALLET)];
  const indexOf = (key: string): number => {
    if (!keys.includes(address(key))) keys.push(address(key));
    return keys.indexOf(address(key));
  };
  const instructions = steps.map((step) => ({
    programIndex: indexOf(step.program),
    accountIndexes: step.accounts.map(indexOf),
    data: step.data,
  }));
  return {
    version: '0',
    header: { requiredSignatures: 1, readonlySigned: 0, readonlyUnsigned: 0 },
    accountKeys: keys,
    lifetime: new Uint8Array(32).fill(1),
    instructions,
    lookups: [],
    config: {},
  };
}
