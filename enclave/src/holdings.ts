/**
 * The wallets this boot holds. Their state here is the one that counts; nothing is evicted, because what is forgotten
 * could be rolled back (design 6, 8).
 */
import type { Address, BootId, Hash, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Successor } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  type Rewrapped,
  type WalletBlobs,
  type WalletKeyBlobs,
  walletKeyBlobs,
} from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { RememberedCount, RequestMemory } from './requests.ts';
import { decodeState, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import type { WalletKeys } from './vault.ts';

export interface Held {
  state: WalletState;
  /** The newest sealed form of `state`, to be asked for again when the host lost it. */
  sealed: { blob: Uint8Array; version: bigint };
  /** Of the key blobs that count. Under others nothing newer may be sealed, or the wallet would open with neither. */
  keys: Hash;
  /** The last re-wrapping here, or the blobs that it came with: what a host asks for that has others. */
  rewrapped: KeptRewrapping | undefined;
  readonly requests: RequestMemory;
  /** The last enabling, so that its repeat gets the same reply. */
  lastEnable: { readonly statement: Uint8Array; readonly reply: ReplyOf<'policyEnable'> } | undefined;
  /** How it came here; undefined for a wallet that was created or imported here. */
  readonly taken: Taken | undefined;
  /** Its end, likewise. */
  lastRetire: { readonly statement: Uint8Array; readonly reply: ReplyOf<'walletRetire'> } | undefined;
  /** The last change of who may follow the owner, likewise. */
  lastSuccession:
    | { readonly statement: Uint8Array; readonly reply: ReplyOf<'successorName'> | ReplyOf<'takeoverComplete'> }
    | undefined;
  /** What the host was given of a wallet whose key was imported here, until it has a policy. */
  imported: WalletBlobs | undefined;
}

/** As `Rewrapped`; the blobs are encoded, because so many objects would take more memory than their bytes. */
interface KeptRewrapping {
  readonly keys: Uint8Array;
  mac: Uint8Array | undefined;
  readonly at: TimeMs;
  readonly owner: Address | undefined;
}

/** The newest state, and what it is sealed under where that has changed here. */
export interface Newest {
  readonly state: Held['sealed'];
  readonly rewrapped?: Rewrapped;
}

/** A wallet that was held and is not any more. */
interface Gone {
  /** It left with this: no state as old as it counts here again, and its successor has no use for an older one. */
  readonly sealed: Held['sealed'];
  readonly rewrapped: KeptRewrapping | undefined;
  readonly given: Given | undefined;
  readonly isRetired: boolean;
}

/** A hand-over, so that its repeat gets the same reply. */
export interface Given {
  readonly successor: BootId;
  readonly reply: ReplyOf<'release'>;
}

/** A take-over, likewise. */
interface Taken {
  readonly predecessor: BootId;
  readonly at: TimeMs;
  readonly reply: ReplyOf<'take'>;
}

export class Holdings {
  readonly #held = new Map<Address, Held>();
  readonly #gone = new Map<Address, Gone>();
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

  /** Also of a wallet that left. */
  newest(wallet: Address): Newest | undefined {
    const known = this.#held.get(wallet) ?? this.#gone.get(wallet);
    return known && { state: known.sealed, ...(known.rewrapped && { rewrapped: decoded(known.rewrapped) }) };
  }

  /** Also of one that left: what it was signed before must not leave any more either. */
  isRetired(wallet: Address): boolean {
    const held = this.#held.get(wallet);
    return held === undefined ? this.#gone.get(wallet)?.isRetired === true : held.state.retiredAt !== undefined;
  }

  /** @throws QvError wallet_retired */
  requireLive(wallet: Address): void {
    if (this.isRetired(wallet)) throw new QvError('wallet_retired', { path: 'wallet' });
  }

  /** Makes sure a wallet that is being created or imported will find room. @throws QvError wallets_full */
  reserve(): { release: () => void } {
    // Those that left count, too: what is forgotten of them could be rolled back.
    const size = this.#held.size + this.#gone.size + this.#reserved;
    if (size >= LIMITS.walletsPerEnclave) throw new QvError('wallets_full');
    this.#reserved++;
    return { release: () => void this.#reserved-- };
  }

  /** @param blobs that are known to open */
  add(
    state: WalletState,
    sealed: Held['sealed'],
    blobs: WalletKeyBlobs,
    { taken, imported }: { taken?: Taken; imported?: WalletBlobs } = {},
  ): void {
    this.#held.set(state.wallet, {
      state,
      sealed,
      keys: keysHash(blobs),
      // It may have been re-wrapped where it comes from: a database from before has blobs that count no more.
      rewrapped: taken && { keys: encodeAs(walletKeyBlobs, blobs), mac: undefined, at: taken.at, owner: state.owner },
      requests: new RequestMemory(this.#remembered),
      lastEnable: undefined,
      lastRetire: undefined,
      lastSuccession: undefined,
      taken,
      imported,
    });
    this.#gone.delete(state.wallet);
  }

  /**
   * The blobs of a wallet that was imported here and has never had a policy: a reply that a host lost leaves one that
   * is nowhere stored, and its owner imports it again. One set of blobs for all such replies, so that it does not
   * matter which of them is stored. Undefined when the wallet is not known here.
   * @throws QvError wallet_exists, wallet_held_elsewhere
   */
  unusedImport(wallet: Address, owner: Address, successor?: Successor): WalletBlobs | undefined {
    if (this.#gone.has(wallet)) throw new QvError('wallet_held_elsewhere', { path: 'wallet' });
    const held = this.#held.get(wallet);
    if (held === undefined) return undefined;
    const { imported, state } = held;
    const named = state.succession?.successor;
    const isNamed = named?.key === successor?.key && named?.delayDays === successor?.delayDays;
    if (imported === undefined || state.owner !== owner || !isNamed)
      throw new QvError('wallet_exists', { path: 'wallet' });
    return imported;
  }

  /** This boot signs nothing for the wallet from now on. */
  give(wallet: Address, given: Given | undefined): void {
    const held = this.#held.get(wallet);
    if (held === undefined) throw new QvError('wallet_unknown', { path: 'wallet' });
    const { sealed, rewrapped, state } = held;
    this.#gone.set(wallet, { sealed, rewrapped, given, isRetired: state.retiredAt !== undefined });
    held.requests.forgetAll();
    this.#held.delete(wallet);
  }

  /** The hand-over of a wallet that left by one. */
  given(wallet: Address): Given | undefined {
    return this.#gone.get(wallet)?.given;
  }

  /** The reply to a take-over that was done already, as long as nothing has happened to the wallet since. */
  taken(wallet: Address, predecessor: BootId): ReplyOf<'take'> | undefined {
    const { taken, state } = this.#held.get(wallet) ?? {};
    return taken?.predecessor === predecessor && taken.reply.state.version === state?.version ? taken.reply : undefined;
  }

  /** A wallet that was here before comes back later than it left, or not at all. @throws QvError state_too_old */
  requireNewer(wallet: Address, version: bigint): void {
    const left = this.#gone.get(wallet)?.sealed.version;
    if (left !== undefined && version <= left) throw new QvError('state_too_old', { path: 'wallet' });
  }

  /** From here on these key blobs count, and this state under them. */
  rewrap(held: Held, state: WalletState, sealed: Held['sealed'], { keys, mac, at, owner }: Rewrapped): void {
    held.state = state;
    held.sealed = sealed;
    held.keys = keysHash(keys);
    // Of whoever has an older row both changes are asked for at once.
    held.rewrapped = { keys: encodeAs(walletKeyBlobs, keys), mac, at, owner: owner ?? held.rewrapped?.owner };
    // Those of before would be handed out once more.
    held.imported = undefined;
  }

  /**
   * To be asked before a key is unwrapped, and again with it: the wallet may have been re-wrapped meanwhile. Says nothing
   * of wallets that are not here.
   * @throws QvError wallet_keys_replaced
   */
  requireKeys(wallet: Address, blobs: WalletKeyBlobs): void {
    const held = this.#held.get(wallet);
    if (held === undefined || equalBytes(held.keys, keysHash(blobs))) return;
    throw new QvError('wallet_keys_replaced', { path: 'wallet' });
  }

  /**
   * Authenticates the row's sealed state and compares it with what this boot knows.
   * @throws QvError wallet_keys_replaced, wallet_keys_mismatch, state_invalid, wallet_held_elsewhere, wallet_retired, state_ahead
   */
  compare(keys: WalletKeys, blobs: WalletBlobs, wallet: Address, owner: Address): Held {
    this.requireKeys(wallet, blobs);
    const plaintext = keys.openState(blobs.sealedState, stateAssociated(wallet, owner));
    if (plaintext === undefined) {
      const keysFit = keys.seedOpens(blobs.sealedSeed, seedAssociated(wallet, owner));
      throw new QvError(keysFit ? 'state_invalid' : 'wallet_keys_mismatch');
    }
    const stored = decodeState(plaintext);
    if (stored.wallet !== wallet || stored.owner !== owner) throw new QvError('state_invalid');
    if (stored.holder !== this.#boot) {
      // Nobody signs for it, so that its holder is not worth looking for.
      if (stored.retiredAt !== undefined) throw new QvError('wallet_retired', { path: 'wallet' });
      throw new QvError('wallet_held_elsewhere');
    }
    const held = this.#held.get(wallet);
    // Given away: the row still has the state that it left with.
    if (held === undefined && this.#gone.has(wallet)) throw new QvError('wallet_held_elsewhere');
    // Sealed by this boot, yet unknown to it: nothing this code does leads here.
    if (held === undefined) throw new QvError('state_invalid');
    // The host's copy may lag behind (memory counts), but it cannot know what has not happened yet.
    if (stored.version > held.state.version) throw new QvError('state_ahead');
    return held;
  }
}

function decoded({ keys, mac, at, owner }: KeptRewrapping): Rewrapped {
  return { keys: decodeAs(walletKeyBlobs, keys, 'keys'), at, ...(mac && { mac }), ...(owner && { owner }) };
}

function keysHash(blobs: WalletKeyBlobs): Hash {
  return sha256(encodeAs(walletKeyBlobs, blobs));
}
