/**
 * Program-derived addresses, and the associated token account of an owner and a mint.
 *
 * Such an address is the first SHA-256 of its seeds, counting a bump byte down from 255, that is no point on
 * Curve25519 (solana-address `find_program_address`). Public values only: nothing here is constant-time.
 */

import { type Address, addressBytes, addressOf } from '../brands.ts';
import { concatBytes, utf8 } from '../bytes.ts';
import { sha256 } from '../sha256.ts';
import { ASSOCIATED_TOKEN_PROGRAM } from './programs.ts';
import { littleEndian } from './reader.ts';

const P = (1n << 255n) - 19n;
/** -121665/121666, the curve's d (RFC 8032 section 5.1). */
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const MARKER = utf8('ProgramDerivedAddress');

/**
 * Whether 32 bytes decompress to a point, as curve25519-dalek decides: the sign bit is ignored and y is reduced.
 * x² = (y² - 1) / (d y² + 1) must be a square; d y² + 1 is never 0 because -1/d is none.
 */
export function isOnCurve(bytes: Uint8Array): boolean {
  const y = (littleEndian(bytes) & ((1n << 255n) - 1n)) % P;
  const ySquared = (y * y) % P;
  const ratio = ((ySquared - 1n + P) * ((D * ySquared + 1n) % P)) % P;
  // Euler's criterion: 0 and 1 are squares, P - 1 is none.
  return power(ratio, (P - 1n) / 2n) <= 1n;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let rest = exponent, square = base % P; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

export function findProgramAddress(seeds: readonly Uint8Array[], program: Address): Address {
  for (let bump = 255; bump >= 0; bump--) {
    const candidate = sha256(concatBytes(...seeds, Uint8Array.of(bump), addressBytes(program), MARKER));
    if (!isOnCurve(candidate)) return addressOf(candidate);
  }
  // One in 2^256.
  throw new Error('no bump gives a program-derived address');
}

/** Deriving takes about a millisecond; the inputs are few, because they come from policies. */
const derived = new Map<string, Address>();
const DERIVED_MOST = 50_000;

/** Where tokens of `mint` for `owner` belong (Associated Token program: seeds owner, token program, mint). */
export function associatedTokenAccount(owner: Address, mint: Address, tokenProgram: Address): Address {
  const key = `${owner} ${mint} ${tokenProgram}`;
  const known = derived.get(key);
  if (known !== undefined) return known;
  const seeds = [owner, tokenProgram, mint].map((seed) => addressBytes(seed));
  const account = findProgramAddress(seeds, ASSOCIATED_TOKEN_PROGRAM);
  // The oldest goes, not all: one wallet more must not make every other one's accounts cold.
  const [oldest] = derived.keys();
  if (derived.size >= DERIVED_MOST && oldest !== undefined) derived.delete(oldest);
  derived.set(key, account);
  return account;
}
