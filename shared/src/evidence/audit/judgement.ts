/** What the leaves of all boots mean together: each is judged once, behind those it depends on. */
import type { BootId } from '../../brands.ts';
import { toHex } from '../../bytes.ts';
import type { ErrorCode } from '../../errors.ts';
import { type Leaf, SUCCESSION_KINDS } from '../leaf.ts';
import type { BootState } from './boot-state.ts';
import { isKind, type LeafOf, missingField } from './kinds.ts';
import type { NamedState } from './predecessors.ts';
import type { Checklist, Place, StepName } from './report.ts';
import type { Wallets } from './wallets.ts';

export interface JudgementParts {
  readonly checklist: Checklist;
  readonly wallets: Wallets;
  /** Signatures found on chain that no leaf has yet, by their SHA-256 in hex. */
  readonly unrecorded: Map<string, string>;
  /** Attests a boot by its leaf 0. */
  readonly attest: (state: BootState, place: Place) => Promise<void>;
}

export class Judgement {
  readonly #parts: JudgementParts;
  /** Signatures that repeat earlier ones. */
  repeats = 0;

  constructor(parts: JudgementParts) {
    this.#parts = parts;
  }

  /**
   * @param named the state of the predecessor's log that the leaf names, where it could be opened
   * @param from what is known of that boot
   */
  judge(state: BootState, leaf: Leaf, sequence: number, named?: NamedState, from?: BootState): void | Promise<void> {
    const place: Place = {
      boot: state.boot,
      sequence: BigInt(sequence),
      ...(leaf.wallet !== undefined && { wallet: leaf.wallet }),
    };
    if ((sequence === 0) !== (leaf.kind === 'boot'))
      this.#add('entries', 'log_entry_unexpected', place, `leaf ${sequence} is of kind ${leaf.kind}`);
    const missing = missingField(leaf);
    if (missing !== undefined) {
      this.#add('entries', 'log_entry_incomplete', place, `a leaf of kind ${leaf.kind} without ${missing}`);
      return;
    }
    if (leaf.predecessor !== undefined) {
      state.origin ??= leaf.predecessor.boot;
      // Freezes travel with whatever continues a boot.
      if (named && from) {
        const here = { from: sequence, fromTime: leaf.time };
        if (leaf.wallet === undefined) state.freezes.follow(from.freezes, named.size, here);
        else state.freezes.receive(from.freezes, named.size, leaf.wallet, here);
      }
    }
    return this.#byKind(state, leaf, sequence, place, named);
  }

  #byKind(
    state: BootState,
    leaf: Leaf,
    sequence: number,
    place: Place,
    named: NamedState | undefined,
  ): void | Promise<void> {
    const { wallets, attest } = this.#parts;
    if (isKind(leaf, 'signed')) return this.#signed(state, leaf, sequence, place);
    if (isKind(leaf, 'policy-enabled')) return wallets.enabled(leaf, place);
    if (isKind(leaf, 'rewrapped')) return wallets.rewrapped(leaf, place);
    if (isKind(leaf, 'wallet-created')) return wallets.created(leaf, place);
    if (isKind(leaf, 'wallet-imported')) return wallets.imported(leaf, place);
    if (isKind(leaf, 'wallet-migrated')) return wallets.imported(leaf, place);
    if (isKind(leaf, 'retired')) return wallets.retired(leaf, place);
    for (const kind of SUCCESSION_KINDS) if (isKind(leaf, kind)) return wallets.succeeded(leaf, place);
    if (isKind(leaf, 'boot')) {
      if (sequence > 0) return;
      state.attestation = leaf.attestation;
      state.configHash = leaf.configHash;
      return attest(state, place);
    }
    if (isKind(leaf, 'follows')) return this.#follows(state, leaf, place, named);
    if (isKind(leaf, 'frozen')) {
      if (!state.freezes.freeze(leaf.freezeId, leaf.scope, sequence, leaf.time))
        this.#add('freezes', 'log_entry_unexpected', place, 'a freeze of this id is on record already');
      return;
    }
    if (isKind(leaf, 'resumed')) {
      if (!state.freezes.resume(leaf.freezeId, leaf.scope, sequence, leaf.time))
        this.#add('freezes', 'log_resume_invalid', place, `no freeze of ${leaf.scope} of that id holds`);
      return;
    }
    if (isKind(leaf, 'release') && leaf.successor !== undefined) return wallets.released(leaf, leaf.successor, place);
    if ((isKind(leaf, 'release') || isKind(leaf, 'lease')) && leaf.predecessor !== undefined)
      return wallets.received(leaf, leaf.predecessor.boot, named?.size ?? 0, place);
  }

  /** When all boots were read: what a boot left out by continuing an older state than there was. */
  finish(states: ReadonlyMap<BootId, BootState>): void {
    this.#parts.wallets.finish();
    for (const { boot, follows, freezes, firstSigned = Number.POSITIVE_INFINITY } of states.values()) {
      if (follows === undefined) continue;
      const lost = states.get(follows.boot)?.freezes.leftOut(follows.size, follows.time) ?? [];
      // One that came with a wallet before anything was signed was not lost: its log was not yet published so far. One
      // that came later was: without it others had signatures.
      for (const { scope, from } of lost.filter(({ id }) => (freezes.knownFrom(id) ?? firstSigned) >= firstSigned))
        this.#add('freezes', 'log_freeze_lost', { boot }, `the freeze of ${scope} by ${follows.boot}/${from}`);
    }
  }

  #follows(state: BootState, leaf: LeafOf<'follows'>, place: Place, named: NamedState | undefined): void {
    if (state.follows !== undefined)
      this.#add('chain', 'log_entry_unexpected', place, `it follows ${state.follows.boot} already`);
    else {
      state.origin = leaf.predecessor.boot;
      state.follows = { boot: state.origin, size: named?.size ?? 0, time: leaf.time };
    }
  }

  #signed(state: BootState, leaf: LeafOf<'signed'>, sequence: number, place: Place): void | Promise<void> {
    const { unrecorded, wallets } = this.#parts;
    const scope = state.freezes.forbids(leaf);
    state.firstSigned ??= sequence;
    if (scope !== undefined) this.#add('freezes', 'log_signed_frozen', place, `a freeze of ${scope} held`);
    if (leaf.repeats === undefined) state.repeats.add(leaf, sequence);
    else {
      this.repeats++;
      if (!state.repeats.holds(leaf))
        this.#add('repeats', 'log_repeat_false', place, `leaf ${leaf.repeats} is no recent signature for this request`);
    }
    if (unrecorded.size > 0) unrecorded.delete(toHex(leaf.signatureHash));
    return wallets.signed(leaf, place);
  }

  #add(step: StepName, code: ErrorCode, place: Place, detail: string): void {
    this.#parts.checklist.add(step, code, place, detail);
  }
}
