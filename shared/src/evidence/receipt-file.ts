/**
 * A receipt as a file that verifies offline: one leaf, its place in the log, the checkpoint that covers it, and leaf 0
 * with the attestation document that names the key which signed all of it.
 *
 * ```jsonc
 * { "format": "qv/receipt/v1",
 *   "index": "41",                       // the leaf's place in its boot's log
 *   "leaf": base64, "signature": base64, // the boot key's, over the leaf's bytes
 *   "proof": [base64, …],                // inclusion in the checkpoint (RFC 6962 section 2.1.1), the deepest first
 *   "checkpoint": "…",                   // signed note, with the witnesses' cosignatures
 *   "bootRecord": { "leaf": base64, "signature": base64, "proof": [base64, …] } } // leaf 0
 * ```
 */
import { type Hash, hash, signature } from '../brands.ts';
import { fromBase64, toBase64, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { JsonFields, type JsonObject, parseStrictJson } from '../json.ts';
import { LIMITS } from '../limits.ts';
import type { Receipt } from './leaf.ts';

export const RECEIPT_FORMAT = 'qv/receipt/v1';

/** A leaf, the boot key's signature, and the proof that it is in the checkpoint. */
export interface ProvenLeaf {
  readonly receipt: Receipt;
  readonly proof: readonly Hash[];
}

export interface ReceiptFile extends ProvenLeaf {
  readonly index: bigint;
  /** A signed note. */
  readonly checkpoint: Uint8Array;
  readonly bootRecord: ProvenLeaf;
}

const INDEX = /^(?:0|[1-9][0-9]{0,18})$/;

export function receiptFileJson(file: ReceiptFile): JsonObject {
  return {
    format: RECEIPT_FORMAT,
    index: String(file.index),
    ...provenJson(file),
    checkpoint: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.checkpoint),
    bootRecord: provenJson(file.bootRecord),
  };
}

function provenJson({ receipt, proof }: ProvenLeaf): JsonObject {
  return { leaf: toBase64(receipt.leaf), signature: toBase64(receipt.signature), proof: proof.map(toBase64) };
}

/** Whether a text looks like a receipt rather than an attestation document. Says nothing of its validity. */
export function looksLikeReceipt(bytes: Uint8Array): boolean {
  return /^\s*\{/.test(new TextDecoder().decode(bytes.subarray(0, 64)));
}

/** @throws QvError receipt_malformed naming the field */
export function parseReceiptFile(bytes: Uint8Array): ReceiptFile {
  try {
    const fields = new JsonFields(parseStrictJson(bytes));
    if (fields.text('format') !== RECEIPT_FORMAT) throw fields.fault('format', `not ${RECEIPT_FORMAT}`);
    const index = fields.text('index');
    if (!INDEX.test(index)) throw fields.fault('index', 'not a decimal');
    const record = new JsonFields(fields.required('bootRecord'), 'bootRecord');
    const bootRecord = proven(record);
    record.end();
    const file = { index: BigInt(index), ...proven(fields), checkpoint: utf8(fields.text('checkpoint')), bootRecord };
    fields.end();
    return file;
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    throw new QvError('receipt_malformed', error.facts, { cause: error });
  }
}

function proven(fields: JsonFields): ProvenLeaf {
  const proof = fields.list('proof');
  if (proof.length > LIMITS.proofHashes) throw fields.fault('proof', 'too long');
  return {
    receipt: {
      leaf: fromBase64(fields.text('leaf'), fields.path('leaf')),
      signature: signature(sized(fields.text('signature'), 64, fields.path('signature'))),
    },
    proof: proof.map((item, at) => {
      const path = fields.path(`proof[${at}]`);
      if (typeof item !== 'string') throw new QvError('field_malformed', { path });
      return hash(sized(item, 32, path));
    }),
  };
}

function sized(text: string, length: number, path: string): Uint8Array {
  const bytes = fromBase64(text, path);
  if (bytes.length !== length) throw new QvError('field_malformed', { path, value: `${bytes.length} bytes` });
  return bytes;
}
