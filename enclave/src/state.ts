/**
 * A wallet's state: what must not be rolled back. The holder's memory is authoritative; the host keeps the sealed
 * form, encrypted under the wallet's state key, which is read only when a holder loads the wallet (design 8).
 *
 * Request ids are not in it. Another boot that takes the wallet over does not know them: a request replayed there gives
 * the same bytes (Ed25519 is deterministic), and is counted against the windows once more.
 */
import type { Address, Hash } from '@quantumvault/shared/brands.ts';
import { successorCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SpendState } from '@quantumvault/shared/policy/state.ts';
import {
  bootId,
  bytes,
  decodeAs,
  encodeAs,
  field,
  fixed,
  type Infer,
  list,
  maybe,
  publicKey,
  purposeStruct,
  struct,
  time,
  u32,
  u64,
  yes,
} from '@quantumvault/shared/protocol/wire.ts';
import { packSignals, packSpends, unpackSignals, unpackSpends } from './spends.ts';

const successionCodec = struct({
  /** What was changed of it so far: each statement names the next one's number. */
  changes: field(0, u32),
  successor: maybe(1, successorCodec),
  /** Since when the successor's claim runs, by trusted time. */
  claimedAt: maybe(2, time),
});
export type Succession = Infer<typeof successionCodec>;

export const stateCodec = purposeStruct('qv/state/v1', {
  wallet: field(1, publicKey),
  owner: field(2, publicKey),
  /** Counts every change, from 1 at creation. */
  version: field(3, u64),
  /** The one boot that may sign. */
  holder: field(4, bootId),
  /** Of the one policy that counts; 0 and absent before the first. */
  epoch: field(5, u32),
  policyHash: maybe(6, fixed<Hash>(32)),
  /** Named by the owner at creation; a policy names those who count. */
  firstRequesters: field(7, list(publicKey, 1, LIMITS.requesters)),
  /** The leaf that recorded the last change. */
  logPosition: field(9, u64),
  /** What windows and rates count, packed as spends.ts says. They survive a change of policy. */
  spends: field(10, bytes(1, LIMITS.packedSpendBytes)),
  /** How often each signal was used. */
  signals: field(11, bytes(8, LIMITS.packedSignalBytes)),
  /** When a lease took the wallet over: until a window's length has passed since, it counts as full (design 8). */
  fullAt: maybe(12, time),
  /** When its owner retired it: it signs nothing from then on, whoever holds it. */
  retiredAt: maybe(13, time),
  /** Who may follow the owner; absent until he names somebody. */
  succession: maybe(14, successionCodec),
  /**
   * Its owner was followed, and nobody has enabled a policy since: the one that is named counts for nobody, not even for
   * him who enabled it, were he the owner again.
   */
  lapsed: maybe(15, yes),
});

/** A state as memory holds it. */
export type WalletState = Omit<Infer<typeof stateCodec>, 'spends' | 'signals' | 'fullAt'> & {
  readonly spent: SpendState;
};

const associatedCodec = purposeStruct('qv/sealed/v1', {
  wallet: field(1, publicKey),
  owner: field(2, publicKey),
  content: field(3, u32),
});
const SEED = 1;
const STATE = 2;
const EXECUTION_KEY = 3;

/** Associated data of a sealed blob: built from the policy or statement being judged, never from the row. */
export function seedAssociated(wallet: Address, owner: Address): Uint8Array {
  return encodeAs(associatedCodec, { wallet, owner, content: SEED });
}

export function stateAssociated(wallet: Address, owner: Address): Uint8Array {
  return encodeAs(associatedCodec, { wallet, owner, content: STATE });
}

export function executionKeyAssociated(wallet: Address, owner: Address): Uint8Array {
  return encodeAs(associatedCodec, { wallet, owner, content: EXECUTION_KEY });
}

export function encodeState(state: WalletState): Uint8Array {
  const { spent, ...rest } = state;
  const { fullAt } = spent;
  const packed = { spends: packSpends(spent), signals: packSignals(spent), ...(fullAt !== undefined && { fullAt }) };
  return encodeAs(stateCodec, { ...rest, ...packed });
}

/** @throws QvError cbor_malformed, message_malformed, state_invalid */
export function decodeState(plaintext: Uint8Array): WalletState {
  const { spends, signals, fullAt, ...rest } = decodeAs(stateCodec, plaintext, 'state');
  const spent = { ...unpackSpends(spends), ...unpackSignals(signals), ...(fullAt !== undefined && { fullAt }) };
  return { ...rest, spent };
}

/** What is MACed to bind a policy to a wallet's policy key. */
const policyMacCodec = purposeStruct('qv/policy-mac/v1', { policy: field(1, bytes(1, LIMITS.policyBytes)) });

/** `policy` is the policy's canonical bytes. */
export function policyMacInput(policy: Uint8Array): Uint8Array {
  return encodeAs(policyMacCodec, { policy });
}
