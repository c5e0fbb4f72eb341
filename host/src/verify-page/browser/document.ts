/** An attestation document: the page's form of `qv verify attestation` and `qv inspect attestation`. */
import { PROVES } from '@quantumvault/shared/attestation/checklist.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { type Inspection, inspectAttestation } from '@quantumvault/shared/evidence/inspect.ts';
import type { Answer } from './answer.ts';
import { checklist, notice, refusal, verdict } from './checklist.ts';
import { contents, identity } from './contents.ts';
import { el } from './dom.ts';
import { expectationsOf, type FormValues, type Input } from './question.ts';

type DocumentInput = Input & { readonly kind: 'document' };

export async function verifyDocument({ document }: DocumentInput, form: FormValues): Promise<Answer> {
  const { encoding, bytes } = document;
  const report = await verifyAttestation(bytes, expectationsOf(form));
  const found = await reading(bytes);
  return {
    verdict: [report.ok ? verdict(PROVES[report.mode]) : refusal(report.failure)],
    details: [
      // Of a document that fails nothing is known to be true: no summary of it, only the folded contents.
      ...(report.ok && found !== undefined ? [identity(found)] : []),
      el('h2', '', 'Checks'),
      el('p', 'hint', `Read as ${encoding}, ${bytes.length} bytes.`),
      checklist(report.steps),
      ...(found === undefined ? [] : [contents(found, false)]),
    ],
  };
}

export async function inspectDocument({ document: { encoding, bytes } }: DocumentInput): Promise<Answer> {
  return {
    verdict: [notice('warn', 'No verdict', `Nothing has been verified. Read as ${encoding}, ${bytes.length} bytes.`)],
    details: [contents(await inspectAttestation(bytes), true)],
  };
}

/** Undefined when it does not decode: the checklist has said so. */
async function reading(bytes: Uint8Array): Promise<Inspection | undefined> {
  try {
    return await inspectAttestation(bytes);
  } catch {
    return undefined;
  }
}
