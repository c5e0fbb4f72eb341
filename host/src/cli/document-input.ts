/** The attestation document that a command line names. */
import { type EncodedDocument, readDocument } from '@quantumvault/shared/attestation/encodings.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Arguments } from './command.ts';
import { readInput } from './input.ts';

/** @throws QvError usage_invalid unless there is exactly one */
export function documentOperand({ operands }: Arguments): string {
  const [source, ...more] = operands;
  if (source === undefined || more.length > 0)
    throw new QvError('usage_invalid', { value: `name one document, not ${operands.length}` });
  return source;
}

/** @throws QvError input_unreadable, body_too_large, attestation_encoding_unknown */
export function readDocumentFile(path: string): EncodedDocument {
  return readDocument(readInput(path));
}
