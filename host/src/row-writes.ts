/**
 * Bringing one wallet's row to what the enclave decided about it, whoever else writes it meanwhile: each write names the
 * row as it was read, and is done again for the row as it then is. An older state never takes the place of a newer one.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { policyFromBytes } from '@quantumvault/shared/policy/policy.ts';
import type { Rewrapped } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { UsesRowKey } from './row-keys.ts';
import type { UnsealedRow } from './row-mac.ts';
import { leafRecord, type ReplyRecord, type Store, type WalletRow } from './store/store.ts';
import { sameKeys } from './wallet-rows.ts';

export interface SignedRecord {
  /** The row as it was read for this request. */
  readonly row: WalletRow;
  readonly state: NonNullable<ReplyOf<'sign'>['state']>;
  /** One, or those of a batch. */
  readonly receipts: readonly Receipt[];
  readonly reply: ReplyRecord;
}

/** A wallet that came to this boot, left it, or was re-wrapped: its state, and what that is under if it has changed. */
export type MovedRecord = Pick<SignedRecord, 'row' | 'state' | 'receipts'> & { readonly rewrapped?: Rewrapped };

export interface EnabledRecord {
  readonly row: WalletRow;
  readonly policy: Uint8Array;
  readonly epoch: number;
  readonly reply: ReplyOf<'policyEnable'>;
}

export interface RetiredRecord {
  readonly row: WalletRow;
  readonly state: SignedRecord['state'];
  /** Absent where another answer brought it. */
  readonly receipt?: Receipt;
}

type StateRecord = Pick<SignedRecord, 'row' | 'state'> &
  Partial<SignedRecord> & { readonly rewrapped?: Rewrapped | undefined };

/** Writers of one row that keep overtaking each other: more rounds than this mean something else is wrong. */
const ROUNDS = 16;

export class RowWrites {
  readonly #store: Store;
  readonly #keys: UsesRowKey;

  constructor(store: Store, keys: UsesRowKey) {
    this.#store = store;
    this.#keys = keys;
  }

  /** The newest state, and whatever was decided with it. @throws QvError store_*, row_tampered */
  async state({ row, state, rewrapped, receipts, reply }: StateRecord): Promise<void> {
    let current = row;
    for (let round = 0; round < ROUNDS; round++) {
      // A state of before a re-wrapping is older than the one of the row, and so is not written.
      if (rewrapped !== undefined && state.version > current.stateVersion && !sameKeys(current, rewrapped.keys)) {
        if (await this.#replaceKeys(current, { state, rewrapped, receipts: receipts ?? [] })) return;
        current = await this.#reread(row);
        continue;
      }
      const next = this.#keys
        .require()
        .seal({ ...unsealed(current), sealedState: state.blob, stateVersion: state.version });
      const outcome = await this.#store.applySigned({
        wallet: row.wallet,
        generation: current.generation,
        sealedState: next.sealedState,
        stateVersion: next.stateVersion,
        rowMac: next.rowMac,
        ...(receipts && { leaves: receipts.map(leafRecord) }),
        ...(reply && { reply: this.#keys.require().sealReply(reply) }),
      });
      if (outcome !== 'changed') return;
      current = await this.#reread(row);
    }
    throw new QvError('store_conflict');
  }

  /** What is under the keys changes with them, in one transaction. False when the row is not as it was read. */
  async #replaceKeys(
    from: WalletRow,
    { state, rewrapped, receipts }: Omit<Required<MovedRecord>, 'row'>,
  ): Promise<boolean> {
    const { mac, at, owner } = rewrapped;
    const { second, ...keys } = rewrapped.keys;
    // Not a second sealing of the key of before.
    const { second: _, ...rest } = unsealed(from);
    const to = this.#keys.require().seal({
      ...rest,
      ...keys,
      ...(second && { second }),
      // Of a row from before the first policy was enabled, nothing is MACed.
      ...(from.policy !== undefined && mac !== undefined && { policyMac: mac }),
      // The policy of the owner before stays, for the next one to name; its MAC is under a key that counts no more.
      ...(owner && { owner }),
      sealedState: state.blob,
      stateVersion: state.version,
      rotatedAt: at,
      generation: from.generation + 1,
    });
    const leaves = receipts.map(leafRecord);
    return (await this.#store.replaceWalletKeys({ from, to, leaves })) === 'applied';
  }

  /** @throws QvError store_*, row_tampered */
  async enabled({ row, policy, epoch, reply }: EnabledRecord): Promise<void> {
    const leaf = leafRecord(reply.receipt);
    let current = row;
    for (let round = 0; round < ROUNDS; round++) {
      // A signature that overtook us sealed a newer state, which knows the policy already.
      const newer = current.stateVersion > reply.state.version;
      const to = this.#keys.require().seal({
        ...unsealed(current),
        policy,
        policyMac: reply.mac,
        sealedState: newer ? current.sealedState : reply.state.blob,
        stateVersion: newer ? current.stateVersion : reply.state.version,
        generation: current.generation + 1,
      });
      if ((await this.#store.enablePolicy({ from: current, to, leaf })) === 'applied') return;
      current = await this.#reread(row);
      const known = current.policy === undefined ? 0 : policyFromBytes(current.policy).epoch;
      // So did another policy: its epoch is higher, it counts, ours was replaced.
      if (known > epoch) return;
      // Re-wrapped since, which takes the policy that counts: written by a repeat, and our MAC is under another key.
      if (known === epoch && !sameKeys(current, row)) return;
    }
    throw new QvError('store_conflict');
  }

  /** @throws QvError store_*, row_tampered */
  async retired({ row, state, receipt }: RetiredRecord): Promise<void> {
    let current = row;
    for (let round = 0; round < ROUNDS; round++) {
      // Written by a repeat, or taken over since.
      const newer = current.stateVersion > state.version;
      const to = this.#keys.require().seal({
        ...unsealed(current),
        retired: true,
        sealedState: newer ? current.sealedState : state.blob,
        stateVersion: newer ? current.stateVersion : state.version,
        generation: current.generation + 1,
      });
      const update = { from: current, to, ...(receipt && { leaf: leafRecord(receipt) }) };
      if ((await this.#store.retireWallet(update)) === 'applied') return;
      current = await this.#reread(row);
      if (current.retired) return;
    }
    throw new QvError('store_conflict');
  }

  async #reread({ wallet }: WalletRow): Promise<WalletRow> {
    const current = await this.find(wallet);
    if (current === undefined) throw new QvError('store_conflict');
    return current;
  }

  /** The row, found unedited; undefined when there is none. @throws QvError store_*, row_tampered */
  find(wallet: Address): Promise<WalletRow | undefined> {
    return this.#keys.reading(async () => {
      const row = await this.#store.getWallet(wallet);
      return row && this.#keys.require().verify(row);
    });
  }
}

function unsealed({ rowMac: _, ...rest }: WalletRow): UnsealedRow {
  return rest;
}
