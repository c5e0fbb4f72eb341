/**
 * Which boot's log this one continues (design 10). The host names it, so the name proves nothing about the host; but
 * it is on record under this boot's key, and an auditor who finds two boots that follow nothing, or a predecessor
 * whose log is not what was named, knows that history was cut.
 */
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { bootOfOrigin } from '@quantumvault/shared/evidence/leaf.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Context } from './context.ts';
import { verifyEd25519 } from './vault.ts';

export class Succession {
  #named = false;

  /** Once per boot. @throws QvError log_note_*, log_checkpoint_malformed, log_origin_mismatch, already_initialised */
  follow({ config, attester, log, time }: Context, { checkpoint }: RequestOf<'follow'>): ReplyOf<'follow'> {
    const note = parseNote(checkpoint);
    const { origin } = parseCheckpoint(note.text);
    const boot = bootOfOrigin(config.logOrigin, origin);
    if (boot === undefined || boot === attester.boot) throw new QvError('log_origin_mismatch', { path: 'origin' });
    verifyNote(note, [verifierKey(origin, 'ed25519', addressBytes(boot))], verifyEd25519);
    if (this.#named) throw new QvError('already_initialised', { path: 'follow' });
    const { receipt } = log.append({ kind: 'follows', predecessor: { boot, checkpoint } }, time.lastTrusted());
    this.#named = true;
    return { receipt };
  }
}
