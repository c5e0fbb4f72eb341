/**
 * The fleet's row key: made once, handed to each host process at its start (design 4). It lets a host refuse edited
 * rows before they cost enclave time; no check in here depends on it.
 */
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Context } from './context.ts';
import type { EncryptionContext } from './kms.ts';
import { recordKeyFailure } from './log.ts';
import { WithSecret } from './outbox.ts';

function rowKeyContext(context: Context): EncryptionContext {
  return { 'qv:purpose': 'row-key', 'qv:deployment': context.config.deployment, 'qv:v': '1' };
}

/** @throws QvError kms_* */
export async function createRowKey(context: Context): Promise<ReplyOf<'rowKeyCreate'>> {
  // Unwrapped when a host asks for it, not now.
  return context.kms.generateDataKey(rowKeyContext(context), (_recipient, _envelope, blob) => ({ blob }));
}

/** @throws QvError kms_*, key_blob_invalid */
export async function unwrapRowKey(context: Context, blob: Uint8Array): Promise<WithSecret<ReplyOf<'rowKeyUnwrap'>>> {
  try {
    return await context.kms.decrypt(blob, rowKeyContext(context), (recipient, envelope) => {
      const secret = context.vault.openRowKey(recipient, envelope);
      return new WithSecret({ rowKey: new Uint8Array(secret.length) }, secret);
    });
  } catch (error) {
    recordKeyFailure(context.log, context.time, codeOf(error));
    throw error;
  }
}
