/**
 * The freeze latch (design 9). Setting it needs nothing and can do nothing but stop signing; clearing it is a later
 * capability and does not exist in this build.
 */

import { QvError } from '@quantumvault/shared/errors.ts';
import { type FreezeAck, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Context } from './context.ts';
import { randomBytes } from './vault.ts';

export class Freeze {
  #id: Uint8Array | undefined;

  /** Of the last freeze; undefined while execution is enabled. */
  get id(): Uint8Array | undefined {
    return this.#id;
  }

  /** @throws QvError frozen */
  requireOpen(): void {
    if (this.#id !== undefined) throw new QvError('frozen');
  }

  latch(id: Uint8Array): void {
    this.#id = id;
  }
}

/** Latches first; the record and the acknowledgement follow. */
export function freeze(context: Context, request: RequestOf<'freeze'>): ReplyOf<'freeze'> {
  const freezeId = randomBytes(16);
  context.freeze.latch(freezeId);
  // What is held back for witnesses is purged: it must not leave after the acknowledgement (design 9).
  context.witnesses.refuseAll(new QvError('frozen'));
  // A freeze must hold even while time is not trusted: the record then says the last time that was.
  const time = context.time.lastTrusted();
  const { receipt, hash } = context.log.append(
    { kind: 'frozen', freezeId, scope: request.scope, reason: request.reason },
    time,
  );
  const ack: FreezeAck = {
    deployment: context.config.deployment,
    boot: context.attester.boot,
    freezeId,
    scope: request.scope,
    time,
    leafHash: hash,
  };
  const bytes = encodeAs(freezeAckCodec, ack);
  return { ack: { bytes, signature: context.vault.signAsBoot(bytes) }, receipt };
}
