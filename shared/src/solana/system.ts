/** System program instructions (bincode: u32 tag). Only Transfer is ever allowed; the others are named to say why not. */
import { type DataFault, u32At, u64At } from './instruction-data.ts';

/** Each instruction the judge denies, with the rule that denies it; by tag. */
const DENIED: ReadonlyMap<number, string> = new Map([
  [0, 'create-account'],
  [1, 'assign'],
  [3, 'create-account'],
  [4, 'durable-nonce'],
  [5, 'nonce-withdraw'],
  [6, 'nonce-initialize'],
  [7, 'nonce-authorize'],
  [8, 'allocate'],
  [9, 'allocate'],
  [10, 'assign'],
  [11, 'transfer-with-seed'],
  [12, 'nonce-upgrade'],
  [13, 'create-account'],
]);

export type SystemInstruction =
  | { readonly kind: 'transfer'; readonly lamports: bigint }
  /** `lamports` is what it would move, where it moves some. */
  | { readonly kind: 'denied'; readonly rule: string; readonly lamports: bigint };

export function decodeSystem(data: Uint8Array): SystemInstruction | DataFault {
  if (data.length < 4) return 'unknown-instruction';
  const tag = u32At(data, 0);
  if (tag === 2) return data.length === 12 ? { kind: 'transfer', lamports: u64At(data, 4) } : 'non-canonical-data';
  const rule = DENIED.get(tag);
  if (rule === undefined) return 'unknown-instruction';
  return { kind: 'denied', rule, lamports: lamportsMoved(tag, data) };
}

/** Amounts of denied instructions, for a dry run; 0 where the data is too short to hold one. */
function lamportsMoved(tag: number, data: Uint8Array): bigint {
  const read = (offset: number): bigint => (data.length >= offset + 8 ? u64At(data, offset) : 0n);
  // CreateAccount, WithdrawNonceAccount, TransferWithSeed, CreateAccountAllowPrefund start with the amount.
  if (tag === 0 || tag === 5 || tag === 11 || tag === 13) return read(4);
  if (tag !== 3) return 0n;
  // CreateAccountWithSeed: base key, then the seed with its u64 length, then the amount.
  const seedLength = read(36);
  return seedLength <= BigInt(data.length) ? read(44 + Number(seedLength)) : 0n;
}
