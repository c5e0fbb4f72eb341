/** The notes by which leaves name another boot's log: signed by that boot's key, of that log, and a state it had. */
import { addressBytes, type BootId, type Hash } from '../../brands.ts';
import { openCheckpoint } from '../../tlog/checkpoint.ts';
import { verifierKey } from '../../tlog/verifier-key.ts';
import { bootLogOrigin, type Predecessor, type VerifyEd25519 } from '../leaf.ts';
import { sameBytes } from './same-bytes.ts';

/** A state of one log that somebody signed: opened, not yet compared with the log. */
export interface NamedState {
  readonly boot: BootId;
  readonly size: number;
  readonly root: Hash;
}

export class NotesNamed {
  readonly #logOrigin: string;
  readonly #verify: VerifyEd25519;
  /** Many wallets move by one checkpoint. */
  #last: { readonly note: Uint8Array; readonly state: NamedState } | undefined;

  constructor(logOrigin: string, verify: VerifyEd25519) {
    this.#logOrigin = logOrigin;
    this.#verify = verify;
  }

  /** @throws QvError log_note_*, log_checkpoint_malformed, log_origin_mismatch */
  open({ boot, checkpoint: note }: Predecessor): NamedState {
    const last = this.#last;
    if (last !== undefined && last.state.boot === boot && sameBytes(last.note, note)) return last.state;
    const origin = bootLogOrigin(this.#logOrigin, boot);
    const log = { origin, key: verifierKey(origin, 'ed25519', addressBytes(boot)), witnesses: [] };
    const { checkpoint } = openCheckpoint(note, log, this.#verify);
    const state = { boot, size: Number(checkpoint.size), root: checkpoint.root };
    this.#last = { note, state };
    return state;
  }
}
