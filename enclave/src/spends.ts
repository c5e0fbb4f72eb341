/**
 * A wallet's spends and the uses of its signals as packed bytes for its sealed state: windows, rates and counters must
 * survive a restart (design 8).
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
import { type Address, addressBytes, addressOf, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Spend, SpendState } from '@quantumvault/shared/policy/state.ts';

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

export function packSpends({ spends }: Pick<SpendState, 'spends'>): Uint8Array {
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
export function unpackSpends(bytes: Uint8Array): Pick<SpendState, 'spends'> {
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
  return { spends };
}

const SIGNAL_BYTES = 16 + 8 + 4;

/**
 * The uses of signals: u64 floor in ms, then per signal 16 bytes of its key, u64 time in ms, u32 uses.
 */
export function packSignals({ signals, signalFloor }: SpendState): Uint8Array {
  const bytes = new Uint8Array(8 + signals.length * SIGNAL_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(signalFloor));
  for (const [index, { key, at, uses }] of signals.entries()) {
    const start = 8 + index * SIGNAL_BYTES;
    bytes.set(fromHex(key), start);
    view.setBigUint64(start + 16, BigInt(at));
    view.setUint32(start + 24, Math.min(uses, 0xffff_ffff));
  }
  return bytes;
}

/** @throws QvError state_invalid */
export function unpackSignals(bytes: Uint8Array): Pick<SpendState, 'signals' | 'signalFloor'> {
  const invalid = (): QvError => new QvError('state_invalid', { path: 'signals' });
  if (bytes.length < 8 || (bytes.length - 8) % SIGNAL_BYTES !== 0) throw invalid();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const time = (at: number): TimeMs => {
    const milliseconds = Number(view.getBigUint64(at));
    if (!Number.isSafeInteger(milliseconds)) throw invalid();
    return timeMs(milliseconds);
  };
  const signals = Array.from({ length: (bytes.length - 8) / SIGNAL_BYTES }, (_, index) => {
    const start = 8 + index * SIGNAL_BYTES;
    return {
      key: toHex(bytes.subarray(start, start + 16)),
      at: time(start + 16),
      uses: view.getUint32(start + 24),
    };
  });
  return { signals, signalFloor: time(0) };
}
