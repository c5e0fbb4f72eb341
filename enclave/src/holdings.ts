/**
 * The wallets this boot holds. Their state here is the one that counts; nothing is evicted, because what is forgotten
 * could be rolled back (design 6, 8).
 */
import type { Address, BootId } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf, WalletBlobs } from '@quantumvault/shared/protocol/messages.ts';
import { RememberedCount, RequestMemory } from './requests.ts';
import { decodeState, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import type { WalletKeys } from './vault.ts';

export interface Held {
  state: WalletState;
  /** The newest sealed form of `state`, to be asked for again when the host lost it. */
  sealed: { blob: Uint8Array; version: bigint };
  readonly requests: RequestMemory;
  /** The last enabling, so that its repeat gets the same reply. */
  lastEnable: { readonly statement: Uint8Array; readonly reply: ReplyOf<'policyEnable'> } | undefined;
}

export class Holdings {
  readonly #held = new Map<Address, Held>();
  readonly #boot: BootId;
  readonly #remembered = new RememberedCount();
  #reserved = 0;

  constructor(boot: BootId) {
    this.#boot = boot;
  }

  get size(): number {
    return this.#held.size;
  }

  get(wallet: Address): Held | undefined {
    return this.#held.get(wallet);
  }

  /** Makes sure a wallet that is being created will find room. @throws QvError wallets_full */
  reserve(): { release: () => void } {
    if (this.#held.size + this.#reserved >= LIMITS.walletsPerEnclave) throw new QvError('wallets_full');
    this.#reserved++;
    return { release: () => void this.#reserved-- };
  }

  add(state: WalletState, sealed: Held['sealed']): void {
    this.#held.set(state.wallet, {
      state,
      sealed,
      requests: new RequestMemory(this.#remembered),
      lastEnable: undefined,
    });
  }

  /**
   * Authenticates the row's sealed state and compares it with what this boot knows.
   * @throws QvError wallet_keys_mismatch, state_invalid, wallet_held_elsewhere, state_ahead
   */
  compare(keys: WalletKeys, blobs: WalletBlobs, wallet: Address, owner: Address): Held {
    const plaintext = keys.openState(blobs.sealedState, stateAssociated(wallet, owner));
    if (plaintext === undefined) {
      const keysFit = keys.seedOpens(blobs.sealedSeed, seedAssociated(wallet, owner));
      throw new QvError(keysFit ? 'state_invalid' : 'wallet_keys_mismatch');
    }
    const stored = decodeState(plaintext);
    if (stored.wallet !== wallet || stored.owner !== owner) throw new QvError('state_invalid');
    if (stored.holder !== this.#boot) throw new QvError('wallet_held_elsewhere');
    const held = this.#held.get(wallet);
    // Sealed by this boot, yet unknown to it: nothing this code does leads here.
    if (held === undefined) throw new QvError('state_invalid');
    // The host's copy may lag behind (memory counts), but it cannot know what has not happened yet.
    if (stored.version > held.state.version) throw new QvError('state_ahead');
    return held;
  }
}
