/** The attestation document that a command line names. */
import { type EncodedDocument, readDocument } from '@quantumvault/shared/attestation/encodings.ts';
import type { Arguments } from './command.ts';
import { readInput } from './input.ts';
import { oneOperand } from './text-input.ts';

/** @throws QvError usage_invalid unless there is exactly one */
export const documentOperand = (args: Arguments): string => oneOperand(args, 'document');

/** @throws QvError input_unreadable, body_too_large, attestation_encoding_unknown */
export function readDocumentFile(path: string): EncodedDocument {
  return readDocument(readInput(path));
}
