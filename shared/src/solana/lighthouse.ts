/**
 * Lighthouse assertions (Jac0xb/lighthouse 2.0.0: `instruction.rs`, `types/assert`): the four forms that a balance
 * bracket is made of, byte for byte, and nothing else of that program. Each takes one account, the one it is about,
 * and fails the transaction where it does not hold.
 *
 *   AssertAccountInfo        05 00    | 00 lamports[u64] 05
 *   AssertAccountInfoMulti   06 00 03 | 00 lamports[u64] 04 | 01 0[u64] 00 | 03 00 00
 *   AssertTokenAccount       09 00    | 02 amount[u64] 05
 *   AssertTokenAccountMulti  0a 00 04 | 02 amount[u64] 04 | 01 owner[32] 00 | 03 00 00 | 07 00 00
 *
 * Instruction, log level (00 silent), in Multi the number of assertions (LEB128); then of each the field, the value and
 * the operator: 00 equal, 04 at least, 05 at most. Of an account: 00 lamports, 01 data length, 03 owner (00 System).
 * Of a token account: 02 amount, 01 owner, 03 delegate (00 none), 07 close authority (00 none).
 */
import { type Address, addressOf } from '../brands.ts';
import { fromHex, toHex } from '../bytes.ts';
import { littleEndian } from './reader.ts';

export interface BalanceAssertion {
  readonly bound: 'most' | 'least';
  /** Lamports of a plain account, or base units of a token account. */
  readonly of: 'lamports' | 'units';
  readonly amount: bigint;
  /**
   * Whose token account it is: with `least` of `units` alone. Both `least` forms assert besides that nobody else has
   * power over the account: a plain one belongs to System and holds no data, a token account has no delegate and no
   * close authority.
   */
  readonly owner?: Address;
}

type Form = Pick<BalanceAssertion, 'bound' | 'of'> & { readonly hex: RegExp };

/** Over the lower-case hex of the whole data. */
const FORMS: readonly Form[] = [
  { bound: 'most', of: 'lamports', hex: /^050000(?<amount>.{16})05$/ },
  { bound: 'least', of: 'lamports', hex: /^06000300(?<amount>.{16})0401000000000000000000030000$/ },
  { bound: 'most', of: 'units', hex: /^090002(?<amount>.{16})05$/ },
  { bound: 'least', of: 'units', hex: /^0a000402(?<amount>.{16})0401(?<owner>.{64})00030000070000$/ },
];

/** Undefined for all other data: other instructions, operators, log levels, orders, numbers, and trailing bytes. */
export function decodeAssertion(data: Uint8Array): BalanceAssertion | undefined {
  const text = toHex(data);
  for (const { bound, of, hex } of FORMS) {
    const { amount, owner } = hex.exec(text)?.groups ?? {};
    if (amount === undefined) continue;
    return {
      bound,
      of,
      amount: littleEndian(fromHex(amount)),
      ...(owner !== undefined && { owner: addressOf(fromHex(owner)) }),
    };
  }
  return undefined;
}
