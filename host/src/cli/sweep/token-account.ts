/**
 * Accounts of SPL Token and Token-2022 as they are on chain (spl-token-interface `state.rs`): 165 bytes of an account,
 * 82 of a mint. Token-2022 pads a mint to 165, and puts the kind of the account and then its extensions behind them.
 *
 *   account: mint[32] owner[32] amount[u64] delegate[option] state[u8] native[u32 + u64] delegated[u64] close[option]
 *   mint:    authority[option] supply[u64] decimals[u8] initialised[u8] freeze authority[option]
 *   option:  u32, 0 or 1, and 32 bytes;  extension: type[u16] length[u16] and so many bytes
 */
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { TOKEN_2022_PROGRAM } from '@quantumvault/shared/solana/programs.ts';
import { Reader } from '@quantumvault/shared/solana/reader.ts';

const ACCOUNT_BYTES = 165;
const MINT_BYTES = 82;
const [KIND_MINT, KIND_ACCOUNT] = [1, 2];
const [INITIALISED, FROZEN] = [1, 2];

export interface TokenAccount {
  readonly mint: Address;
  readonly owner: Address;
  readonly units: bigint;
  readonly isFrozen: boolean;
  /** Wrapped SOL. */
  readonly isNative: boolean;
  /** Who alone may close it, in place of the owner. */
  readonly closeAuthority: Address | undefined;
  readonly extensions: readonly number[];
}

export interface Mint {
  readonly decimals: number;
  readonly extensions: readonly number[];
}

const malformed = (value: string): QvError => new QvError('field_malformed', { value });

/** @param program that owns the account. @throws QvError field_malformed, transaction_truncated */
export function tokenAccountOf(data: Uint8Array, program: Address): TokenAccount {
  const reader = new Reader(data);
  const mint = addressOf(reader.take(32));
  const owner = addressOf(reader.take(32));
  const units = reader.u64();
  option(reader);
  const state = reader.u8();
  if (state !== INITIALISED && state !== FROZEN) throw malformed('an account that is not initialised');
  const isNative = isSome(reader);
  reader.take(8 + 8);
  const closeAuthority = option(reader);
  const extensions = extensionsOf(reader, program, ACCOUNT_BYTES, KIND_ACCOUNT);
  return { mint, owner, units, isFrozen: state === FROZEN, isNative, closeAuthority, extensions };
}

/** @param program that owns the account. @throws QvError field_malformed, transaction_truncated */
export function mintOf(data: Uint8Array, program: Address): Mint {
  const reader = new Reader(data);
  option(reader);
  reader.take(8);
  const decimals = reader.u8();
  if (reader.u8() !== 1) throw malformed('a mint that is not initialised');
  option(reader);
  return { decimals, extensions: extensionsOf(reader, program, MINT_BYTES, KIND_MINT) };
}

function isSome(reader: Reader): boolean {
  const tag = reader.u32();
  if (tag > 1) throw malformed('an option that is neither there nor absent');
  return tag === 1;
}

function option(reader: Reader): Address | undefined {
  const isThere = isSome(reader);
  const bytes = reader.take(32);
  return isThere ? addressOf(bytes) : undefined;
}

function extensionsOf(reader: Reader, program: Address, base: number, kind: number): readonly number[] {
  if (reader.remaining === 0) return [];
  if (program !== TOKEN_2022_PROGRAM) throw malformed('bytes behind an account of SPL Token');
  if (reader.take(ACCOUNT_BYTES - base).some((byte) => byte !== 0)) throw malformed('padding');
  if (reader.u8() !== kind) throw malformed('another kind of account');
  const found: number[] = [];
  while (reader.remaining >= 4) {
    const type = reader.u16();
    // The rest is room that is not used.
    if (type === 0) break;
    reader.take(reader.u16());
    if (found.includes(type)) throw malformed('an extension twice');
    found.push(type);
  }
  return found;
}
