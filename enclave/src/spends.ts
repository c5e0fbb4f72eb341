/**
 * A wallet's spends as packed bytes for its sealed state: windows and rates must survive a restart (design 8).
 *
 * ```
 * u16                     number of mints, m
 * m x 32 bytes            mints
 * then, per spend:
 *   u64 time in ms, u32 signatures, u64 lamports out, u64 fee lamports, u16 number of tokens, t
 *   t x (u16 index of the mint, u64 base units)
 * ```
 * All integers big-endian. Sums saturate at 2^64 - 1, which no window allows.
 */
import { type Address, addressBytes, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { NOTHING_SPENT, type Spend, type SpendState } from '@quantumvault/shared/policy/state.ts';

const SPEND_BYTES = 8 + 4 + 8 + 8 + 2;
const TOKEN_BYTES = 2 + 8;
const MINT_BYTES = 32;
const U64_MAX = (1n << 64n) - 1n;

function sizeOf(spends: readonly Spend[], mints: number): number {
  return spends.reduce((sum, { tokens }) => sum + SPEND_BYTES + tokens.size * TOKEN_BYTES, 2 + mints * MINT_BYTES);
}

function mintsOf(spends: readonly Spend[]): Address[] {
  return [...new Set(spends.flatMap(({ tokens }) => [...tokens.keys()]))];
}

/** Whether the packed form of these stays within its limit. */
export function fits(spends: readonly Spend[]): boolean {
  return sizeOf(spends, mintsOf(spends).length) <= LIMITS.packedSpendBytes;
}

export function packSpends({ spends }: SpendState): Uint8Array {
  const mints = mintsOf(spends);
  if (!fits(spends)) throw new RangeError('spends do not fit the sealed state');
  const bytes = new Uint8Array(sizeOf(spends, mints.length));
  const view = new DataView(bytes.buffer);
  const clamp = (value: bigint): bigint => (value > U64_MAX ? U64_MAX : value);
  view.setUint16(0, mints.length);
  let at = 2;
  for (const mint of mints) {
    bytes.set(addressBytes(mint), at);
    at += MINT_BYTES;
  }
  for (const spend of spends) {
    view.setBigUint64(at, BigInt(spend.at));
    view.setUint32(at + 8, Math.min(spend.count, 0xffff_ffff));
    view.setBigUint64(at + 12, clamp(spend.lamportsOut));
    view.setBigUint64(at + 20, clamp(spend.feeLamports));
    view.setUint16(at + 28, spend.tokens.size);
    at += SPEND_BYTES;
    for (const [mint, amount] of spend.tokens) {
      view.setUint16(at, mints.indexOf(mint));
      view.setBigUint64(at + 2, clamp(amount));
      at += TOKEN_BYTES;
    }
  }
  return bytes;
}

/** @throws QvError state_invalid */
export function unpackSpends(bytes: Uint8Array): SpendState {
  const invalid = (): QvError => new QvError('state_invalid', { path: 'spends' });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const need = (at: number, length: number): number => {
    if (at + length > bytes.length) throw invalid();
    return at;
  };
  const mintCount = view.getUint16(need(0, 2));
  const mints: Address[] = [];
  let at = 2;
  for (; mints.length < mintCount; at += MINT_BYTES) {
    mints.push(addressOf(bytes.subarray(need(at, MINT_BYTES), at + MINT_BYTES)));
  }
  const spends: Spend[] = [];
  while (at < bytes.length) {
    need(at, SPEND_BYTES);
    const tokenCount = view.getUint16(at + 28);
    const tokens = new Map<Address, bigint>();
    const head = at;
    at += SPEND_BYTES;
    for (let index = 0; index < tokenCount; index++, at += TOKEN_BYTES) {
      const mint = mints[view.getUint16(need(at, TOKEN_BYTES))];
      if (mint === undefined) throw invalid();
      tokens.set(mint, view.getBigUint64(at + 2));
    }
    const time = Number(view.getBigUint64(head));
    if (!Number.isSafeInteger(time)) throw invalid();
    spends.push({
      at: timeMs(time),
      count: view.getUint32(head + 8),
      lamportsOut: view.getBigUint64(head + 12),
      feeLamports: view.getBigUint64(head + 20),
      tokens,
    });
  }
  return { ...NOTHING_SPENT, spends };
}
