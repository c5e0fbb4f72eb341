/**
 * Token instructions (one-byte tag): SPL Token as p-token implements it since 2026, and the part of Token-2022 that
 * has the same meaning. Three kinds can be allowed; every other tag has the rule that denies it.
 */
import type { Address } from '../brands.ts';
import { type DataFault, u64At } from './instruction-data.ts';
import { TOKEN_2022_PROGRAM } from './programs.ts';

export type TokenInstruction =
  | { readonly kind: 'transferChecked'; readonly units: bigint; readonly decimals: number }
  | { readonly kind: 'closeAccount' }
  | { readonly kind: 'syncNative' }
  | { readonly kind: 'batch' }
  /** What it would move, where its data says so: base units, or lamports for `unwrap-lamports`. */
  | { readonly kind: 'denied'; readonly rule: string; readonly amount: bigint };

const TRANSFER_CHECKED = 12;
const CLOSE_ACCOUNT = 9;
const SYNC_NATIVE = 17;
const BATCH = 255;

/** Tags with a meaning that no policy allows. What moves an amount has it as u64 behind the tag, except 45. */
const DENIED: ReadonlyMap<number, string> = new Map([
  [3, 'plain-transfer-without-mint'],
  [4, 'approve'],
  [5, 'revoke'],
  [6, 'set-authority'],
  [8, 'burn'],
  [10, 'freeze-account'],
  [11, 'thaw-account'],
  [13, 'approve'],
  [15, 'burn'],
  [38, 'withdraw-excess-lamports'],
  [45, 'unwrap-lamports'],
]);
const WITH_AMOUNT = [3, 4, 8, 13, 15];

/** Token-2022 tags of extensions: fees, hooks, guards, delegates, confidential transfers, pausing, metadata. */
const isExtension = (tag: number): boolean => tag >= 25 && tag <= 46;

export function decodeToken(program: Address, data: Uint8Array): TokenInstruction | DataFault {
  const tag = data[0];
  switch (tag) {
    case undefined:
      return 'unknown-instruction';
    case TRANSFER_CHECKED:
      if (data.length !== 10) return 'non-canonical-data';
      return { kind: 'transferChecked', units: u64At(data, 1), decimals: data[9] ?? 0 };
    // The destination is judged before the data's length: bytes after the tag change nothing on chain.
    case CLOSE_ACCOUNT:
      return { kind: 'closeAccount' };
    case SYNC_NATIVE:
      return data.length === 1 ? { kind: 'syncNative' } : 'non-canonical-data';
    case BATCH:
      if (program === TOKEN_2022_PROGRAM) return { kind: 'denied', rule: 'token-2022-batch', amount: 0n };
      return { kind: 'batch' };
    default:
      return decodeDenied(program, tag, data);
  }
}

function decodeDenied(program: Address, tag: number, data: Uint8Array): TokenInstruction | DataFault {
  const rule = DENIED.get(tag);
  if (rule !== undefined) return { kind: 'denied', rule, amount: amountOf(tag, data) };
  if (program === TOKEN_2022_PROGRAM && isExtension(tag))
    return { kind: 'denied', rule: 'token-2022-extension', amount: 0n };
  return 'unknown-instruction';
}

function amountOf(tag: number, data: Uint8Array): bigint {
  if (WITH_AMOUNT.includes(tag) && data.length >= 9) return u64At(data, 1);
  // UnwrapLamports: an optional amount, whose absence means everything.
  return tag === 45 && data[1] === 1 && data.length >= 10 ? u64At(data, 2) : 0n;
}

/** One inner instruction of a Batch: how many of the accounts it takes, and its data. */
export interface BatchEntry {
  readonly accountCount: number;
  readonly data: Uint8Array;
}

/**
 * The entries of a Batch's data as p-token walks them: {accounts u8, length u8, data}, at least one entry, no empty
 * data, nothing behind the last. Undefined for anything that p-token refuses.
 */
export function decodeBatch(data: Uint8Array): readonly BatchEntry[] | undefined {
  const entries: BatchEntry[] = [];
  for (let offset = 1; offset < data.length; ) {
    const accountCount = data[offset];
    const length = data[offset + 1];
    if (accountCount === undefined || length === undefined || length === 0) return undefined;
    const end = offset + 2 + length;
    if (end > data.length) return undefined;
    entries.push({ accountCount, data: data.slice(offset + 2, end) });
    offset = end;
  }
  return entries.length === 0 ? undefined : entries;
}
