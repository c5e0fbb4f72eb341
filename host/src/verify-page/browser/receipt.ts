/** A receipt: the page's form of `qv verify receipt`. */
import { isoTime } from '@quantumvault/shared/attestation/chain.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { inspectAttestation } from '@quantumvault/shared/evidence/inspect.ts';
import { decodeLeaf, type Leaf, type VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
import { leafRows } from '@quantumvault/shared/evidence/leaf-record.ts';
import { RECEIPT_PROVES, type VerifiedReceiptFile } from '@quantumvault/shared/evidence/receipt-checklist.ts';
import { parseReceiptFile } from '@quantumvault/shared/evidence/receipt-file.ts';
import { verifyReceiptFile } from '@quantumvault/shared/evidence/verify-receipt-file.ts';
import nacl from 'tweetnacl';
import type { Answer } from './answer.ts';
import { checklist, notice, refusal, verdict } from './checklist.ts';
import { contents } from './contents.ts';
import { type Child, definitions, el, mono } from './dom.ts';
import { type FormValues, receiptExpectationsOf } from './question.ts';

/** In plain JavaScript: not every browser's own cryptography has Ed25519. */
const verifyEd25519: VerifyEd25519 = (signature, message, publicKey) =>
  nacl.sign.detached.verify(message, signature, publicKey);

/** @throws QvError receipt_malformed when it is none; what an unusable expectation throws */
export async function verifyReceipt(bytes: Uint8Array, form: FormValues): Promise<Answer> {
  const report = await verifyReceiptFile(bytes, receiptExpectationsOf(form), verifyEd25519);
  if (!report.ok && report.failure.step === 'form') throw new QvError(report.failure.code, report.failure.facts);
  return {
    verdict: [report.ok ? verdict(proves(report.receipt)) : refusal(report.failure)],
    details: [
      // Of a receipt that fails nothing is known to be true.
      ...(report.ok ? summary(report.receipt) : []),
      el('h2', '', 'Checks of the receipt'),
      checklist(report.steps),
      ...(report.attestation.length === 0
        ? []
        : [el('h2', '', 'Checks of its attestation document'), checklist(report.attestation)]),
    ],
  };
}

/** @throws QvError receipt_malformed, cbor_malformed, message_malformed, attestation_* */
export async function inspectReceipt(bytes: Uint8Array): Promise<Answer> {
  const file = parseReceiptFile(bytes);
  const leaf = decodeLeaf(file.receipt.leaf);
  const { attestation } = decodeLeaf(file.bootRecord.receipt.leaf);
  return {
    verdict: [notice('warn', 'No verdict', `Nothing has been verified. Read as a receipt, ${bytes.length} bytes.`)],
    details: [
      el('h2', '', 'What the receipt says'),
      rowsOf(leaf),
      ...(attestation === undefined ? [] : [contents(await inspectAttestation(attestation), false)]),
    ],
  };
}

const proves = ({ witnesses }: VerifiedReceiptFile): string =>
  RECEIPT_PROVES[witnesses.length > 0 ? 'witnessed' : 'unwitnessed'];

function summary({ leaf, checkpoint, witnesses, moduleId, attestedAt, pcrSet }: VerifiedReceiptFile): HTMLElement[] {
  const names = witnesses.map(({ name, timeSeconds }) => `${name} at ${isoTime(Number(timeSeconds) * 1000)}`);
  return [
    el('h2', '', 'What was decided'),
    rowsOf(leaf),
    definitions([
      ['Log', mono(checkpoint.origin)],
      ['Leaves in it', String(checkpoint.size)],
      ['Witnesses', names.join(', ') || 'none'],
      ['Enclave', el('span', '', mono(moduleId), ` attested ${isoTime(attestedAt)}`)],
      ['Image', `as in ${pcrSet.name}`],
    ]),
  ];
}

function rowsOf(leaf: Leaf): HTMLElement {
  const list = definitions(leafRows(leaf).map(([label, value]): readonly [string, Child] => [label, mono(value)]));
  list.id = 'leaf';
  return list;
}
