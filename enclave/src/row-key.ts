/**
 * The fleet's row key: made once, handed to each host process at its start (design 4). It lets a host refuse edited
 * rows before they cost enclave time; no check in here depends on it.
 *
 * Its blob is the KMS ciphertext; or, where a second key is measured, a map with what opens by that one, too: without it
 * a host that has only the second key could read no row.
 */
import { codeOf } from '@quantumvault/shared/errors.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { secondSealing } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import {
  bytes,
  decodeAs,
  encodeAs,
  field,
  type Infer,
  purposeStruct,
  text,
} from '@quantumvault/shared/protocol/wire.ts';
import type { Envelope } from './cms.ts';
import type { Context } from './context.ts';
import type { EncryptionContext } from './kms.ts';
import { recordKeyFailure } from './log.ts';
import { WithSecret } from './outbox.ts';
import type { RecipientKey, SealedKey } from './vault.ts';

function rowKeyContext(context: Context): EncryptionContext {
  return { 'qv:purpose': 'row-key', 'qv:deployment': context.config.deployment, 'qv:v': '1' };
}

function secondRowKeyContext(context: Context): EncryptionContext {
  return { ...rowKeyContext(context), 'qv:purpose': 'row-key-second' };
}

export const rowKeyBlobCodec = purposeStruct('qv/row-key/v1', {
  ciphertext: field(1, bytes(1, LIMITS.kmsCiphertextBytes)),
  second: field(2, secondSealing),
});
type Blob = Pick<Infer<typeof rowKeyBlobCodec>, 'ciphertext'> & Partial<Infer<typeof rowKeyBlobCodec>>;

/** What is no such map is a ciphertext: KMS gives none that would be one. */
export function readRowKeyBlob(blob: Uint8Array): Blob {
  try {
    return decodeAs(rowKeyBlobCodec, blob, 'rowKey');
  } catch {
    return { ciphertext: blob };
  }
}

const associatedCodec = purposeStruct('qv/sealed-row-key/v1', { deployment: field(1, text(64, FACT)) });

function associatedOf({ config }: Context): Uint8Array {
  return encodeAs(associatedCodec, { deployment: config.deployment });
}

/** @throws QvError kms_* */
export async function createRowKey(context: Context): Promise<ReplyOf<'rowKeyCreate'>> {
  const { kms, vault } = context;
  // Unwrapped when a host asks for it, not now.
  if (!kms.hasSecond) return kms.generateDataKey(rowKeyContext(context), (_, { ciphertext }) => ({ blob: ciphertext }));
  return kms.generateTwo(rowKeyContext(context), secondRowKeyContext(context), (recipient, made, under) => {
    const sealed = vault.sealUnder(recipient, made.envelope, under.envelope, associatedOf(context));
    const second = { ciphertext: under.ciphertext, sealed };
    return { blob: encodeAs(rowKeyBlobCodec, { ciphertext: made.ciphertext, second }) };
  });
}

/** @throws QvError kms_*, key_blob_invalid */
export async function unwrapRowKey(context: Context, blob: Uint8Array): Promise<WithSecret<ReplyOf<'rowKeyUnwrap'>>> {
  const { ciphertext, second } = readRowKeyBlob(blob);
  const open = (recipient: RecipientKey, envelope: Envelope, sealed?: SealedKey) => {
    const secret = context.vault.openRowKey(recipient, envelope, sealed);
    return new WithSecret({ rowKey: new Uint8Array(secret.length) }, secret);
  };
  try {
    return await context.kms.decrypt(
      ciphertext,
      rowKeyContext(context),
      (recipient, envelope) => open(recipient, envelope),
      second && {
        ciphertext: second.ciphertext,
        context: secondRowKeyContext(context),
        open: (recipient, envelope) =>
          open(recipient, envelope, { sealed: second.sealed, associated: associatedOf(context) }),
      },
    );
  } catch (error) {
    recordKeyFailure(context.log, context.time, codeOf(error));
    throw error;
  }
}
